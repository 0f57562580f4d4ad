//! What is wrong in a project file, where, and what to write instead.
//!
//! A [`Diagnostic`] carries the text it points into, with every secret masked, so it can be rendered anywhere and can
//! never show a password: the source line of a wrong password is part of the message.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The project runs; the user should know.
    Warning,
    /// The project is refused.
    Error,
}

/// The name and the text that diagnostics point into.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The path of the file, as the user gave it.
    pub name: String,
    /// Its text, with secrets masked byte for byte.
    pub text: String,
    /// Where they are in it, in order: a rendering shows each as [`HIDDEN`], however long it is.
    pub(super) hidden: Vec<Range<usize>>,
}

/// How a rendering shows a secret.
const HIDDEN: &str = "********";

impl Source {
    /// Returns the text as it is shown, and where the places of these spans are in it.
    fn shown(&self, spans: &mut [&mut Range<usize>]) -> String {
        let (mut shown, mut done) = (String::with_capacity(self.text.len()), 0);
        let places: Vec<Range<usize>> = spans.iter().map(|span| (**span).clone()).collect();
        for hidden in &self.hidden {
            shown.push_str(self.text.get(done..hidden.start).unwrap_or_default());
            let before = shown.len();
            shown.push_str(HIDDEN);
            done = hidden.end;
            for (span, place) in spans.iter_mut().zip(&places) {
                // What begins or ends in a secret begins or ends with it.
                if place.start > hidden.start {
                    span.start = if place.start < done { before } else { place.start - done + shown.len() };
                }
                if place.end > hidden.start {
                    span.end = if place.end < done { shown.len() } else { place.end - done + shown.len() };
                }
            }
        }
        shown.push_str(self.text.get(done..).unwrap_or_default());
        shown
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong, beginning with the key path.
    pub message: String,
    /// What stands beside the caret.
    pub label: String,
    /// The bytes of the file that it is about, or `None` where it is about the whole file.
    pub span: Option<Range<usize>>,
    /// Another place that belongs to it, with its own label.
    pub also: Option<(Range<usize>, String)>,
    /// What to write or do instead.
    pub help: Option<String>,
    /// What the spans point into.
    pub source: Arc<Source>,
}

/// Whether a rendering uses colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Plain text.
    Never,
    /// ANSI escape sequences.
    Always,
}

impl Diagnostic {
    /// Returns the finding with file, line and caret, over several lines and without a line feed at the end.
    pub fn render(&self, colour: Colour) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let (mut span, mut also) =
            (self.fitted(&self.span), self.fitted(&self.also.as_ref().map(|also| also.0.clone())));
        let shown = self.source.shown(&mut [&mut span, &mut also]);
        let snippet = self.span.is_some().then(|| self.snippet(&shown, span, also));
        let mut group = level.primary_title(self.message.as_str()).elements(snippet);
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let renderer = match colour {
            Colour::Never => Renderer::plain(),
            Colour::Always => Renderer::styled(),
        };
        renderer.render(&[group])
    }

    /// Returns the line and the column at which it starts, both counted from 1; the column counts characters.
    pub fn position(&self) -> Option<(usize, usize)> {
        let before = self.source.text.get(..self.span.as_ref()?.start)?;
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(line_start..)?.chars().count() + 1;
        Some((before.matches('\n').count() + 1, column))
    }

    fn snippet<'a>(
        &'a self,
        shown: &'a str,
        span: Range<usize>,
        also: Range<usize>,
    ) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
        let mut snippet = Snippet::source(shown).path(self.source.name.as_str());
        snippet = snippet.annotation(AnnotationKind::Primary.span(span).label(self.label.as_str()));
        if let Some((_, label)) = &self.also {
            snippet = snippet.annotation(AnnotationKind::Context.span(also).label(label.as_str()));
        }
        snippet
    }

    /// Shortens a span to its first line, on character borders: a caret over a page of PEM helps nobody.
    fn fitted(&self, span: &Option<Range<usize>>) -> Range<usize> {
        let Some(span) = span else { return 0..0 };
        let text = self.source.text.as_str();
        let start = floor_char_boundary(text, span.start);
        let end = floor_char_boundary(text, span.end.max(start));
        let first_line = text.get(start..end).and_then(|part| part.find(['\n', '\r']));
        start..first_line.map_or(end, |length| start + length)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Colour::Never))
    }
}

fn floor_char_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Gathers the findings of one file.
pub(super) struct Findings {
    source: Arc<Source>,
    list: Vec<Diagnostic>,
}

impl Findings {
    pub(super) fn new(source: Arc<Source>) -> Self {
        Self { source, list: Vec::new() }
    }

    /// Adds an error; the caller adds label, help and a second place to what is returned.
    pub(super) fn error(&mut self, span: &Range<usize>, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Severity::Error, Some(span.clone()), message.into())
    }

    /// Adds a warning.
    pub(super) fn warning(&mut self, span: &Range<usize>, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Severity::Warning, Some(span.clone()), message.into())
    }

    /// Adds an error about the file as a whole.
    pub(super) fn error_of_file(&mut self, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Severity::Error, None, message.into())
    }

    /// Returns the text that findings point into, with secrets masked.
    pub(super) fn text(&self) -> &str {
        &self.source.text
    }

    pub(super) fn has_errors(&self) -> bool {
        self.list.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// Returns the findings in the order of the file.
    pub(super) fn into_list(mut self) -> Vec<Diagnostic> {
        self.list.sort_by_key(|finding| finding.span.as_ref().map(|span| span.start));
        self.list
    }

    fn push(&mut self, severity: Severity, span: Option<Range<usize>>, message: String) -> &mut Diagnostic {
        let source = Arc::clone(&self.source);
        let label = String::new();
        self.list.push_mut(Diagnostic { severity, message, label, span, also: None, help: None, source })
    }
}

impl Diagnostic {
    pub(super) fn label(&mut self, label: impl Into<String>) -> &mut Self {
        self.label = label.into();
        self
    }

    pub(super) fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn also(&mut self, span: &Range<usize>, label: impl Into<String>) -> &mut Self {
        self.also = Some((span.clone(), label.into()));
        self
    }
}
