//! `[connector.NAME.outbox]`.

use std::time::Duration;

use crosspoint_protocol::{TopicFilter, TopicName};

use super::super::diagnostic::Findings;
use super::super::plan::{ArchivePlan, Lane, OutboxPlan, ReplayMark, WhenFull};
use super::super::section::Section;
use super::super::setting::Setting;
use super::super::settings::{connector::ORDERING, outbox as keys};

/// How long the mark of a message that has waited may be.
const MARK_BYTES_MAX: usize = 256;

pub(super) fn resolve(connector: &Section<'_>, findings: &mut Findings) -> OutboxPlan {
    let section = connector.table(&keys::OUTBOX);
    let seconds = |key: &Setting| seconds(&section, key);
    OutboxPlan {
        bytes_max: section.number(&keys::BYTES),
        messages_max: whole(&section, &keys::MESSAGES).unwrap_or(u64::MAX),
        age_max: seconds(&keys::AGE_S),
        when_full: WhenFull::of_word(section.text_or_default(&keys::WHEN_FULL)),
        keep_latest: keep_latest(&section, findings),
        replay_mark: replay_mark(&section, findings),
        backlog_per_s: whole(&section, &keys::BACKLOG_PER_S).and_then(|rate| u32::try_from(rate).ok()),
        attempts_max: Some(section.number(&keys::MAX_ATTEMPTS)).filter(|attempts| *attempts > 0),
        lane: Lane::of_word(connector.text_or_default(&ORDERING)),
        dead_letters_max: section.number(&keys::DEAD_LETTERS),
        archive: section.has_table(&keys::ARCHIVE).then(|| {
            let archive = section.table(&keys::ARCHIVE);
            ArchivePlan {
                bytes_max: archive.number(&keys::ARCHIVE_BYTES),
                age_max: self::seconds(&archive, &keys::ARCHIVE_AGE_S),
            }
        }),
    }
}

fn whole(section: &Section<'_>, key: &Setting) -> Option<u64> {
    section.integer(key).and_then(|number| u64::try_from(number).ok())
}

fn seconds(section: &Section<'_>, key: &Setting) -> Option<Duration> {
    whole(section, key).map(Duration::from_secs)
}

fn keep_latest(section: &Section<'_>, findings: &mut Findings) -> Vec<TopicFilter> {
    let mut filters = Vec::new();
    for text in section.texts(&keys::KEEP_LATEST) {
        match TopicFilter::parse(text.text) {
            Ok(filter) => filters.push(filter),
            Err(error) => {
                let path = section.path_of(&keys::KEEP_LATEST);
                let finding = findings.error(text.span, format!("`{path}`: {error}"));
                finding.label("not a topic filter").help("write topics such as \"state/#\"");
            }
        }
    }
    filters
}

fn replay_mark(section: &Section<'_>, findings: &mut Findings) -> Option<ReplayMark> {
    if !section.has_table(&keys::REPLAY_MARK) {
        return None;
    }
    let mark = section.table(&keys::REPLAY_MARK);
    let text = |key: &Setting| mark.text(key).map(|text| text.text.to_owned());
    let (property, topic_prefix) = (text(&keys::REPLAY_PROPERTY), text(&keys::REPLAY_TOPIC_PREFIX));
    if property.is_none() && topic_prefix.is_none() {
        let finding = findings.error(&mark.span, format!("`{}` says no mark", mark.path));
        finding.label("neither property nor topic_prefix").help("write property = \"replay\"");
    }
    let is_bad_property =
        |name: &String| name.is_empty() || name.len() > MARK_BYTES_MAX || name.contains('\0');
    if property.as_ref().is_some_and(is_bad_property) {
        let path = mark.path_of(&keys::REPLAY_PROPERTY);
        let finding =
            findings.error(&mark.span_of(&keys::REPLAY_PROPERTY), format!("`{path}` is not a name"));
        finding.label(format!("not 1 to {MARK_BYTES_MAX} bytes of text")).help("write property = \"replay\"");
    }
    // Whatever topic follows, the prefix must be one itself.
    let is_bad_prefix =
        |prefix: &String| prefix.len() > MARK_BYTES_MAX || TopicName::parse(prefix.clone()).is_err();
    if topic_prefix.as_ref().is_some_and(is_bad_prefix) {
        let path = mark.path_of(&keys::REPLAY_TOPIC_PREFIX);
        let finding = findings
            .error(&mark.span_of(&keys::REPLAY_TOPIC_PREFIX), format!("`{path}` cannot begin a topic"));
        finding
            .label(format!("not 1 to {MARK_BYTES_MAX} bytes of text without `+` and `#`"))
            .help("write topic_prefix = \"replay/\"");
    }
    let after = seconds(&mark, &keys::REPLAY_AFTER_S).unwrap_or_default();
    Some(ReplayMark { property, topic_prefix, after })
}
