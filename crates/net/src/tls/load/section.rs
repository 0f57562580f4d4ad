//! The sections of PEM, read as leniently as their meaning stays clear.
//!
//! Text around sections, lines of any length, `\r`, a text on one line (as environment variables have it) and line ends
//! that are written `\n` are all taken.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::LoadError;
use super::form::Form;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// Whether padding stands at the end does not change what is meant.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One section of PEM.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) form: Form,
    pub(super) bytes: Zeroizing<Vec<u8>>,
    /// How it is encrypted in the old way: the cipher and the initialisation vector, as `DEK-Info` has them.
    pub(super) dek_info: Option<String>,
}

/// Tells whether there is a section in a text.
pub(super) fn is_pem(text: &str) -> bool {
    text.contains(BEGIN)
}

/// Reads all sections of a text.
///
/// # Errors
/// One is not whole, or is not base64.
pub(super) fn sections(text: &str) -> Result<Vec<Section>, LoadError> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(BEGIN) {
        let damaged = |detail: &str| LoadError::Damaged { detail: detail.to_owned() };
        let (label, body) = after.split_once(DASHES).ok_or_else(|| damaged("a BEGIN line has no end"))?;
        let end = format!("{END}{label}{DASHES}");
        let Some((body, behind)) = body.split_once(&end) else {
            return Err(damaged(&format!("the section {label:?} has no END line")));
        };
        if body.contains(BEGIN) {
            return Err(damaged(&format!("the section {label:?} has no END line")));
        }
        found.push(Section::read(label, body)?);
        rest = behind;
    }
    Ok(found)
}

/// Reads base64 that has no BEGIN and END lines.
pub(super) fn bare(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let body: Zeroizing<String> = Zeroizing::new(text.split_whitespace().collect());
    BASE64.decode(body.as_bytes()).ok().map(Zeroizing::new)
}

/// Writes DER as a section of PEM.
pub(super) fn write(label: &str, der: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(format!("{BEGIN}{label}{DASHES}\n"));
    let body = Zeroizing::new(BASE64.encode(der));
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, behind) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = behind;
    }
    text.push_str(&format!("{END}{label}{DASHES}\n"));
    text
}

impl Section {
    fn read(label: &str, body: &str) -> Result<Self, LoadError> {
        let strange = Form::of_label(label);
        if let Some(form @ (Form::Pgp | Form::OpenSshKey | Form::SshPublicKey | Form::Parameters)) = strange {
            return Ok(Self { form, bytes: Zeroizing::default(), dek_info: None });
        }
        let (dek_info, body) = headers(body);
        let Ok(bytes) = BASE64.decode(body.as_bytes()).map(Zeroizing::new) else {
            let detail = format!("what stands in the section {label:?} is not base64");
            return Err(LoadError::Damaged { detail });
        };
        let form = match (Form::of_der(&bytes), strange) {
            _ if dek_info.is_some() => Form::OldEncryptedKey,
            (Form::OtherDer, Some(form)) => form,
            (Form::OtherDer, None) => Form::OtherSection(label.to_owned()),
            (form, _) => form,
        };
        Ok(Self { form, bytes, dek_info })
    }
}

/// Takes the headers of RFC 1421 off, which a text on one line has only blanks around; returns `DEK-Info` and the body
/// without blanks.
fn headers(body: &str) -> (Option<String>, Zeroizing<String>) {
    let body = Zeroizing::new(body.replace("\\r", " ").replace("\\n", " "));
    let mut words = body.split_whitespace().peekable();
    let mut dek_info = None;
    while let Some(name) = words.next_if(|word| word.ends_with(':')) {
        let value = words.next();
        if name.eq_ignore_ascii_case("DEK-Info:") {
            dek_info = value.map(str::to_owned);
        }
    }
    (dek_info, Zeroizing::new(words.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str) -> Section {
        let mut found = sections(text).unwrap();
        assert_eq!(found.len(), 1, "{text}");
        found.remove(0)
    }

    #[test]
    fn a_section_is_read_however_its_lines_are_broken() {
        let der = b"\x30\x06\x02\x01\x01\x02\x01\x02";
        let text = write("RSA PUBLIC KEY", der);
        for text in [
            text.to_string(),
            text.replace('\n', "\r\n"),
            text.replace('\n', " "),
            text.replace('\n', "\\n"),
            text.replace('\n', ""),
            format!("subject=CN=x\n  {}\nBag Attributes", text.as_str()),
            text.replace("==", "").replace('=', ""),
        ] {
            let section = only(&text);
            assert_eq!((section.form, section.bytes.as_slice()), (Form::PublicKey, &der[..]), "{text:?}");
        }
    }

    #[test]
    fn long_sections_have_lines_of_64_characters() {
        let text = write("X", &[0; 100]);
        assert!(text.lines().all(|line| line.len() <= 64));
        assert_eq!(text.lines().count(), 2 + 3);
    }

    #[test]
    fn the_headers_of_an_old_encrypted_key_are_found_on_one_line_too() {
        let text = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00FF\n\nAAAA\n\
                    -----END RSA PRIVATE KEY-----";
        for text in [text.to_owned(), text.replace('\n', " ")] {
            let section = only(&text);
            assert_eq!(section.form, Form::OldEncryptedKey);
            assert_eq!(section.dek_info.as_deref(), Some("AES-128-CBC,00FF"));
        }
    }

    #[test]
    fn what_is_damaged_is_said() {
        let damage = |text: &str| match sections(text) {
            Err(LoadError::Damaged { detail }) => detail,
            other => panic!("{other:?}"),
        };
        assert_eq!(damage("-----BEGIN X-----\nAAAA\n"), "the section \"X\" has no END line");
        assert_eq!(damage("-----BEGIN X"), "a BEGIN line has no end");
        let text = "-----BEGIN X-----\nAAAA\n-----BEGIN X-----\nAAAA\n-----END X-----\n";
        assert_eq!(damage(text), "the section \"X\" has no END line");
        let text = "-----BEGIN X-----\nA-secret-that-is-not-base64\n-----END X-----\n";
        assert_eq!(damage(text), "what stands in the section \"X\" is not base64");
    }
}
