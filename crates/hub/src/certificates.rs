//! The certificates that a project uses: how long they are valid, and who is told before they are not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crosspoint_net::{CertificateFacts, Certificates, Standing};
use tokio::sync::watch;
use tokio::time::{Instant, interval_at};
use tracing::warn;

use crate::config::plan::{ConnectorPlan, Identity, Pem, Plan};
use crate::environment::Clock;

/// How often a running hub looks at the dates.
const LOOK: Duration = Duration::from_secs(24 * 60 * 60);

/// How many certificates are named in one sentence; a bundle of public authorities has more than a hundred.
const NAMED_MAX: usize = 3;

/// A certificate of the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedCertificate {
    /// Who uses it: `connector.NAME` or `broker.listener.NAME`.
    pub user: String,
    /// What for.
    pub purpose: Purpose,
    /// Where it came from: a file, a variable or "the inline text".
    pub origin: String,
    /// What stands in it.
    pub facts: CertificateFacts,
    /// How it stood when it was asked for.
    pub standing: Standing,
}

/// What a certificate is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// It is presented, itself or as a part of the chain.
    Presented,
    /// Others are trusted that it has signed.
    Trusted,
}

impl Purpose {
    /// Returns the word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Presented => "presented",
            Self::Trusted => "trusted",
        }
    }
}

impl UsedCertificate {
    /// Says in a sentence what is wrong with its dates; `None` when nothing is.
    pub fn trouble(&self) -> Option<String> {
        Some(format!("the certificate {}", self.facts.trouble_as(self.standing)?))
    }
}

/// Returns the certificates of everything that runs, in the order of their users' names.
pub(crate) fn of_plan(plan: &Plan, now_s: i64) -> Vec<UsedCertificate> {
    let mut used = Vec::new();
    for (name, connector) in plan.connectors.iter().filter(|(name, _)| plan.is_enabled(name)) {
        let ConnectorPlan::Mqtt(mqtt) = connector else { continue };
        if mqtt.addresses.iter().any(|address| address.transport.is_secure()) {
            let user = format!("connector.{name}");
            used.extend(of(&user, mqtt.tls.identity.as_ref(), &mqtt.tls.ca, now_s));
        }
    }
    for (name, listener) in plan.broker.iter().flat_map(|broker| &broker.listeners) {
        let user = format!("broker.listener.{name}");
        used.extend(of(&user, listener.identity.as_ref(), &listener.client_ca, now_s));
    }
    used
}

fn of<'a>(
    user: &'a str,
    identity: Option<&'a Identity>,
    authorities: &'a [Pem],
    now_s: i64,
) -> impl Iterator<Item = UsedCertificate> {
    let presented = identity.map(|identity| (Purpose::Presented, &identity.certificate));
    let trusted = authorities.iter().map(|pem| (Purpose::Trusted, pem));
    presented.into_iter().chain(trusted).flat_map(move |(purpose, pem)| {
        // What stands in a plan has been read before.
        let facts = Certificates::read(pem.text.as_bytes()).map(|read| read.facts().collect::<Vec<_>>());
        facts.unwrap_or_default().into_iter().map(move |facts| UsedCertificate {
            user: user.to_owned(),
            purpose,
            origin: pem.origin.clone(),
            standing: facts.standing(now_s),
            facts,
        })
    })
}

/// Says in a sentence which certificates have expired, soon will, or are not valid yet; `None` when none is so.
pub(crate) fn trouble(facts: impl Iterator<Item = CertificateFacts>, now_s: i64) -> Option<String> {
    let mut troubled: Vec<String> = facts.filter_map(|facts| facts.trouble(now_s)).collect();
    let others = troubled.len().saturating_sub(NAMED_MAX);
    troubled.truncate(NAMED_MAX);
    if others > 0 {
        troubled.push(format!("and {others} more"));
    }
    (!troubled.is_empty()).then(|| format!("the certificate {}", troubled.join(", ")))
}

/// Looks at the dates once a day, and says loudly what is about to expire.
pub(crate) async fn watch(plan: watch::Receiver<Arc<Plan>>, clock: Clock) {
    let mut look = interval_at(Instant::now() + LOOK, LOOK);
    loop {
        look.tick().await;
        let plan = plan.borrow().clone();
        warn_of(of_plan(&plan, now_s(&clock)), now_s(&clock));
    }
}

/// Returns what this machine's clock shows, in seconds since 1970.
pub(crate) fn machine_now_s() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

/// Returns what the clock shows, in seconds since 1970.
pub(crate) fn now_s(clock: &Clock) -> i64 {
    i64::try_from(clock().wall_ms / 1_000).unwrap_or(i64::MAX)
}

/// Says once for each file what is wrong with the dates in it.
fn warn_of(used: Vec<UsedCertificate>, now_s: i64) {
    let mut files: BTreeMap<(String, Purpose, String), Vec<CertificateFacts>> = BTreeMap::new();
    for UsedCertificate { user, purpose, origin, facts, .. } in used {
        files.entry((user, purpose, origin)).or_default().push(facts);
    }
    for ((user, purpose, origin), facts) in files {
        if let Some(trouble) = trouble(facts.into_iter(), now_s) {
            warn!(%user, purpose = purpose.word(), %origin, "{trouble}: renew it; the hub takes the new file over by itself.");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use crosspoint_protocol::Now;
    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

    use super::*;
    use crate::testing::plan;

    const DAY_MS: u64 = 86_400_000;

    #[derive(Clone, Default)]
    struct Logged(Arc<Mutex<Vec<u8>>>);

    impl Write for Logged {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn project() -> Plan {
        let mut params = CertificateParams::new(vec!["h".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "device");
        params.not_after = date_time_ymd(2999, 12, 31);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        let tls = format!("certificate = '''\n{certificate}'''\nkey = '''\n{}'''\n", key.serialize_pem());
        plan(&format!("[connector.a]\nurl = \"mqtts://h\"\n[connector.a.tls]\n{tls}"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_that_runs_for_long_warns_of_a_certificate_each_day_before_it_expires() {
        let logged = Logged::default();
        let writer = logged.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let plan = project();
        let expires_ms = u64::try_from(of_plan(&plan, 0)[0].facts.not_after_s).unwrap() * 1_000;
        let (start, from_ms) = (Instant::now(), expires_ms - 32 * DAY_MS);
        let looks = Arc::new(AtomicU64::new(0));
        let counted = looks.clone();
        let clock: Clock = Arc::new(move || {
            counted.fetch_add(1, Relaxed);
            let elapsed = u64::try_from(start.elapsed().as_millis()).unwrap();
            Now { monotonic_ms: elapsed, wall_ms: from_ms + elapsed }
        });
        let (sender, plans) = watch::channel(Arc::new(plan));
        let watching = tokio::spawn(watch(plans, clock));
        let text = || String::from_utf8(logged.0.lock().unwrap().clone()).unwrap();
        tokio::time::sleep(LOOK * 2 + LOOK / 2).await; // pace: time is paused
        assert!(looks.load(Relaxed) > 0);
        assert_eq!(text(), "", "30 days are left");
        tokio::time::sleep(LOOK).await; // pace: time is paused
        assert!(
            text().contains("the certificate \"device\" expires in 29 days (2999-12-31): renew it"),
            "{}",
            text()
        );
        assert!(text().contains("user=connector.a purpose=\"presented\""), "{}", text());
        tokio::time::sleep(LOOK).await; // pace: time is paused
        assert_eq!(text().lines().count(), 2);
        sender.send_replace(Arc::default());
        tokio::time::sleep(LOOK * 3).await; // pace: time is paused
        assert_eq!(text().lines().count(), 2, "it is not used any more");
        watching.abort();
    }
}
