//! The vector of RFC 7677, and what must not pass.

use super::*;

const CLIENT_NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const SALT: &[u8] = b"\x5b\x6d\x99\x68\x9d\x12\x35\x8e\xec\xa0\x4b\x14\x12\x36\xfa\x81";
const CHALLENGE: &str =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const CLIENT_LAST: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const SERVER_LAST: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

fn client(password: &str) -> ClientExchange {
    ClientExchange::begin("user", password.as_bytes(), CLIENT_NONCE).unwrap()
}

fn keys(password: &str) -> Keys {
    let iterations = Iterations::new(4_096).unwrap();
    Keys::derive(&Password::prepare(password.as_bytes()).unwrap(), SALT, iterations).unwrap()
}

fn server() -> ServerExchange {
    let first = ClientFirst::read(client("pencil").first().as_bytes()).unwrap();
    first.challenge(SALT, Iterations::new(4_096).unwrap(), SERVER_NONCE)
}

#[test]
fn the_exchange_of_rfc_7677_is_ours_byte_for_byte_on_both_sides() {
    let client = client("pencil");
    assert_eq!(client.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    let first = ClientFirst::read(client.first().as_bytes()).unwrap();
    assert_eq!(first.username(), "user");
    let server = first.challenge(SALT, Iterations::new(4_096).unwrap(), SERVER_NONCE);
    assert_eq!(server.challenge(), CHALLENGE);
    let (last, proof) = client.challenged(CHALLENGE.as_bytes()).unwrap().answer().unwrap();
    assert_eq!(last, CLIENT_LAST);
    let shown = server.read(last.as_bytes()).unwrap().verify(&keys("pencil")).unwrap();
    assert_eq!(shown, SERVER_LAST);
    assert!(proof.is_shown_by(shown.as_bytes()));
}

#[test]
fn another_password_is_refused() {
    let proof = server().read(CLIENT_LAST.as_bytes()).unwrap();
    assert_eq!(proof.verify(&keys("pencils")), Err(ScramFault::ClientUnproven));
}

#[test]
fn a_server_that_does_not_know_the_password_is_not_believed() {
    let (_, proof) = client("pencil").challenged(CHALLENGE.as_bytes()).unwrap().answer().unwrap();
    let other = SERVER_LAST.replacen('6', "7", 1);
    for shown in ["", "v=", "e=other-error", "v=AAAA", other.as_str()] {
        assert!(!proof.is_shown_by(shown.as_bytes()), "{shown}");
    }
}

#[test]
fn iterations_out_of_bounds_are_refused_before_one_is_hashed() {
    let asked = |number: &str| {
        let challenge = CHALLENGE.replace("i=4096", &format!("i={number}"));
        client("pencil").challenged(challenge.as_bytes()).map(|_| ()).unwrap_err()
    };
    assert_eq!(asked("4095"), ScramFault::TooFewIterations(4_095));
    assert_eq!(asked("0"), ScramFault::TooFewIterations(0));
    assert_eq!(asked("1000001"), ScramFault::TooManyIterations(1_000_001));
    assert_eq!(asked("99999999999"), ScramFault::Malformed("the iterations are no number"));
    assert!(asked("4095").to_string().contains("4095 iterations, fewer than 4096"), "{}", asked("4095"));
}

#[test]
fn a_nonce_of_another_exchange_is_refused_on_both_sides() {
    let other = |challenge: &str| client("pencil").challenged(challenge.as_bytes()).map(|_| ()).unwrap_err();
    assert_eq!(other(&CHALLENGE.replace("r=rO", "r=sO")), ScramFault::Nonce);
    let nothing_added = format!("r={CLIENT_NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
    assert_eq!(other(&nothing_added), ScramFault::Nonce);
    let last = CLIENT_LAST.replace("k0,", "k1,");
    assert_eq!(server().read(last.as_bytes()).unwrap_err(), ScramFault::Nonce);
}

#[test]
fn names_with_signs_arrive_and_wrong_escapes_do_not() {
    let client = ClientExchange::begin("a,b=c", b"x", "N").unwrap();
    assert_eq!(client.first(), "n,,n=a=2Cb=3Dc,r=N");
    assert_eq!(ClientFirst::read(client.first().as_bytes()).unwrap().username(), "a,b=c");
    for wrong in ["n,,n=a=2c,r=N", "n,,n=a=,r=N", "n,,n=,r=N"] {
        assert!(matches!(ClientFirst::read(wrong.as_bytes()), Err(ScramFault::Malformed(_))), "{wrong}");
    }
}

#[test]
fn what_is_asked_for_and_not_done_is_said() {
    let fault = |first: &str| ClientFirst::read(first.as_bytes()).unwrap_err();
    assert_eq!(fault("p=tls-unique,,n=u,r=N"), ScramFault::Unsupported("a channel binding"));
    assert_eq!(fault("n,a=root,n=u,r=N"), ScramFault::Unsupported("to act for another user"));
    assert_eq!(fault("n,,m=x,n=u,r=N"), ScramFault::Unsupported("an extension"));
    assert!(ClientFirst::read(b"y,,n=u,r=N,x=more").is_ok());
}

#[test]
fn what_the_last_message_says_of_the_channel_must_be_what_the_first_said() {
    let taken = |first: &str, channel: &str| {
        let first = ClientFirst::read(first.as_bytes()).unwrap();
        let exchange = first.challenge(b"salt", Iterations::DEFAULT, "S");
        let last = format!("c={channel},r=NS,p={}", "A".repeat(43) + "=");
        exchange.read(last.as_bytes()).map(|_| ())
    };
    assert_eq!(taken("n,,n=u,r=N", "biws"), Ok(()));
    assert_eq!(taken("y,,n=u,r=N", "eSws"), Ok(()));
    assert!(taken("y,,n=u,r=N", "biws").is_err());
}

#[test]
fn no_message_that_is_cut_off_or_garbled_panics_or_passes() {
    for end in 0..CHALLENGE.len() {
        // Cut within the number it may still be one, out of its bounds.
        assert!(client("pencil").challenged(&CHALLENGE.as_bytes()[..end]).is_err(), "{end}");
    }
    for end in 0..CLIENT_LAST.len() {
        let read = server().read(&CLIENT_LAST.as_bytes()[..end]);
        assert!(read.is_err_and(|fault| fault != ScramFault::ClientUnproven), "{end}");
    }
    for at in 0..CLIENT_LAST.len() {
        let mut garbled = CLIENT_LAST.as_bytes().to_vec();
        garbled[at] ^= 0x84;
        let is_wrong = server().read(&garbled).and_then(|proof| proof.verify(&keys("pencil"))).is_err();
        assert!(is_wrong, "{at}");
    }
    assert!(ClientFirst::read(&vec![b'a'; 5_000]).is_err());
    for first in ["", "n", "n,", "n,,", "n,,n=u", "n,,n=u,r=", "n,,n=u,r=\u{7f}"] {
        assert!(ClientFirst::read(first.as_bytes()).is_err(), "{first:?}");
    }
}

#[test]
fn passwords_are_prepared_as_saslprep_says() {
    // Of RFC 4013: a soft hyphen goes, and a roman numeral is its letters.
    let of = |password: &str| keys(password);
    assert!(of("I\u{ad}X").are(&of("IX")) && of("\u{2168}").are(&of("IX")));
    assert!(!of("ix").are(&of("IX")));
    assert_eq!(Password::prepare("\u{7}".as_bytes()).unwrap_err(), ScramFault::Unpreparable);
    assert_eq!(Password::prepare(&[0xFF]).unwrap_err(), ScramFault::Unpreparable);
}

#[test]
fn nothing_secret_is_printed() {
    let exchange = client("hunter2");
    let shown = format!("{exchange:?} {:?}", keys("hunter2"));
    assert!(!shown.contains("hunter2"), "{shown}");
    let challenged = client("hunter2").challenged(CHALLENGE.as_bytes()).unwrap();
    let (last, proof) = challenged.answer().unwrap();
    let shown = format!("{challenged:?} {proof:?} {:?}", server().read(last.as_bytes()).unwrap());
    let (_, secret) = last.split_once("p=").unwrap();
    assert!(!shown.contains("hunter2") && !shown.contains(secret), "{shown}");
}
