//! The first look at some bytes: text or DER, and of what form.

use zeroize::Zeroizing;

use super::LoadError;
use super::form::Form;
use super::section::{self, Section};

const UTF_8_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

/// What some bytes hold: the sections of PEM, or one piece of DER as if it were a section.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) sections: Vec<Section>,
}

impl Input {
    /// Looks at some bytes.
    ///
    /// # Errors
    /// There is nothing, or PEM that is damaged.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, LoadError> {
        if let Some(text) = of_utf_16(bytes) {
            return Self::of_text(&text);
        }
        let bytes = bytes.strip_prefix(UTF_8_MARK).unwrap_or(bytes);
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(LoadError::Empty);
        }
        // A name in the text around the sections may be in any encoding.
        let text = Zeroizing::new(String::from_utf8_lossy(bytes).into_owned());
        match Form::of_der(bytes) {
            Form::OtherDer if section::is_pem(&text) => Self::of_text(&text),
            Form::OtherDer => Ok(Self::of_bare(bytes, &text)),
            form => Ok(Self::one(form, Zeroizing::new(bytes.to_vec()))),
        }
    }

    fn of_text(text: &str) -> Result<Self, LoadError> {
        if section::is_pem(text) {
            return Ok(Self { sections: section::sections(text)? });
        }
        Ok(Self::of_bare(text.as_bytes(), text))
    }

    /// Takes base64 without BEGIN and END lines, as some programs have it in a text field.
    fn of_bare(bytes: &[u8], text: &str) -> Self {
        match section::bare(text).map(|der| (Form::of_der(&der), der)) {
            Some((Form::OtherDer, _)) | None => Self::one(Form::of_strange(bytes), Zeroizing::default()),
            Some((form, der)) => Self::one(form, der),
        }
    }

    fn one(form: Form, bytes: Zeroizing<Vec<u8>>) -> Self {
        Self { sections: vec![Section { form, bytes, dek_info: None }] }
    }

    /// Returns what it is, for an error: the first thing that is not there only beside another.
    pub(super) fn form(&self) -> Form {
        let mut forms = self.sections.iter().map(|section| &section.form);
        let first = forms.clone().next();
        let telling = forms.find(|form| **form != Form::Parameters).or(first);
        telling.cloned().unwrap_or(Form::Text)
    }
}

/// Reads the text of Windows' editors, which begins with a mark.
fn of_utf_16(bytes: &[u8]) -> Option<Zeroizing<String>> {
    let (from, units): (fn([u8; 2]) -> u16, _) = match bytes {
        [0xff, 0xfe, units @ ..] => (u16::from_le_bytes, units),
        [0xfe, 0xff, units @ ..] => (u16::from_be_bytes, units),
        _ => return None,
    };
    let (pairs, _) = units.as_chunks::<2>();
    String::from_utf16(&pairs.iter().map(|pair| from(*pair)).collect::<Vec<u16>>()).ok().map(Zeroizing::new)
}
