//! The encryption that PEM had before PKCS#8: `Proc-Type: 4,ENCRYPTED` and `DEK-Info` (RFC 1421, as OpenSSL does it).

use aes::{Aes128, Aes192, Aes256};
use cbc::Decryptor;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, KeyIvInit};
use des::TdesEde3;
use md5::{Digest, Md5};
use zeroize::Zeroizing;

use super::LoadError;
use super::form::Form;

/// How many bytes of the initialisation vector are the salt of the key as well.
const SALT_BYTES: usize = 8;

/// Decrypts the body of a section with what `DEK-Info` says.
///
/// # Errors
/// The cipher is not known, or the password is not the one.
pub(super) fn decrypt(dek_info: &str, body: &[u8], password: &[u8]) -> Result<Zeroizing<Vec<u8>>, LoadError> {
    let damaged = || LoadError::Damaged { detail: "its DEK-Info line cannot be read".to_owned() };
    let (cipher, vector) = dek_info.split_once(',').ok_or_else(damaged)?;
    let vector = hexadecimal(vector).ok_or_else(damaged)?;
    let opening = Opening { vector: &vector, body, password };
    let opened = match cipher.to_ascii_uppercase().as_str() {
        "AES-128-CBC" => opening.with::<Decryptor<Aes128>>(16),
        "AES-192-CBC" => opening.with::<Decryptor<Aes192>>(24),
        "AES-256-CBC" => opening.with::<Decryptor<Aes256>>(32),
        "DES-EDE3-CBC" => opening.with::<Decryptor<TdesEde3>>(24),
        other => {
            let is_legacy =
                other.starts_with("DES-CBC") || other.starts_with("RC2") || other.starts_with("BF");
            return Err(LoadError::UnknownScheme { scheme: format!("DEK-Info {other}"), is_legacy });
        }
    };
    opened.ok_or(LoadError::WrongPassword { form: Form::OldEncryptedKey })
}

struct Opening<'a> {
    vector: &'a [u8],
    body: &'a [u8],
    password: &'a [u8],
}

impl Opening<'_> {
    fn with<C: KeyIvInit + BlockModeDecrypt>(&self, key_bytes: usize) -> Option<Zeroizing<Vec<u8>>> {
        let salt = self.vector.get(..SALT_BYTES)?;
        let key = derive(self.password, salt, key_bytes);
        let cipher = C::new_from_slices(&key, self.vector).ok()?;
        cipher.decrypt_padded_vec::<Pkcs7>(self.body).ok().map(Zeroizing::new)
    }
}

/// Makes a key of a password: MD5 over what came before, the password and the salt, once each.
fn derive(password: &[u8], salt: &[u8], bytes: usize) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(Vec::with_capacity(bytes + 16));
    let mut last = Zeroizing::new(Vec::new());
    while key.len() < bytes {
        let hash = Md5::new().chain_update(&*last).chain_update(password).chain_update(salt).finalize();
        last = Zeroizing::new(hash.to_vec());
        key.extend_from_slice(&last);
    }
    key.truncate(bytes);
    key
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}
