//! Certificates of both sides.

use crosspoint_hub::diagnosis::Fault;
use crosspoint_hub::doctor::{Examination, Stage};
use interop::{Authority, Identity, Mosquitto, Validity};

use crate::rig::{doctor, failed, mend, well};

/// Starts a mosquitto whose three ports show this certificate.
pub(crate) async fn mosquitto_with(authority: Authority, identity: &Identity) -> Option<Mosquitto> {
    Mosquitto::start_as(authority, |_, ports| {
        let listener = |port: u16| {
            let (certificate, key) = (identity.certificate.display(), identity.key.display());
            format!("listener {port} 127.0.0.1\nprotocol mqtt\ncertfile {certificate}\nkeyfile {key}\n")
        };
        format!("allow_anonymous true\n{}", ports.map(listener).concat())
    })
    .await
}

async fn doctor_at(mosquitto: &Mosquitto, lines: &str) -> Examination {
    doctor(&format!("url = \"mqtts://localhost:{}\"\n{lines}", mosquitto.port())).await
}

fn ca(authority: &Authority) -> String {
    format!("tls.ca = {:?}", authority.file().display().to_string())
}

async fn shown(names: &[&str], validity: Validity) -> Option<(Mosquitto, String)> {
    let authority = Authority::new();
    let identity = authority.sign_as("broker", names, validity);
    let ca = ca(&authority);
    Some((mosquitto_with(authority, &identity).await?, ca))
}

#[tokio::test]
async fn a_certificate_that_holds() {
    let Some((mosquitto, ca)) = shown(&["localhost"], Validity::Now).await else { return };
    well(&doctor_at(&mosquitto, &ca).await);
}

#[tokio::test]
async fn a_certificate_that_has_run_out() {
    let Some((mosquitto, ca)) = shown(&["localhost"], Validity::Past).await else { return };
    let diagnosis = failed(&doctor_at(&mosquitto, &ca).await, Stage::Tls, Fault::CertificateExpired);
    assert_eq!(diagnosis.mend, None, "checking less is no mend: {diagnosis:?}");
}

#[tokio::test]
async fn a_certificate_of_the_future() {
    let Some((mosquitto, ca)) = shown(&["localhost"], Validity::Future).await else { return };
    let diagnosis = failed(&doctor_at(&mosquitto, &ca).await, Stage::Tls, Fault::CertificateNotYetValid);
    assert!(diagnosis.next_step.contains("clock"), "{diagnosis:?}");
}

#[tokio::test]
async fn a_certificate_for_another_host() {
    let Some((mosquitto, ca)) = shown(&["broker.example.com"], Validity::Now).await else { return };
    let examination = doctor_at(&mosquitto, &ca).await;
    let diagnosis = failed(&examination, Stage::Tls, Fault::CertificateWrongHost);
    assert_eq!(mend(&diagnosis), "tls.server_name = \"broker.example.com\"");
    // The mend mends it.
    well(&doctor_at(&mosquitto, &format!("{ca}\n{}", mend(&diagnosis))).await);
}

#[tokio::test]
async fn a_certificate_of_an_authority_that_nobody_knows() {
    let Some((mosquitto, _)) = shown(&["localhost"], Validity::Now).await else { return };
    for lines in [String::new(), ca(&Authority::named("another authority"))] {
        let examination = doctor_at(&mosquitto, &lines).await;
        let diagnosis = failed(&examination, Stage::Tls, Fault::UnknownAuthority);
        assert_eq!(mend(&diagnosis), "tls.ca = ...");
        assert!(diagnosis.cause.contains("test authority"), "the missing authority is named: {diagnosis:?}");
    }
}

#[tokio::test]
async fn a_broker_that_asks_for_a_client_certificate() {
    let Some(mosquitto) = Mosquitto::start().await else { return };
    let authority = &mosquitto.authority;
    let at = |lines: String| {
        format!("url = \"mqtts://localhost:{}\"\n{}\n{lines}", mosquitto.tls_port(), ca(authority))
    };
    let with = |identity: &Identity| {
        let file = |path: &std::path::Path| format!("{:?}", path.display().to_string());
        format!("tls.certificate = {}\ntls.key = {}", file(&identity.certificate), file(&identity.key))
    };
    let diagnosis =
        failed(&doctor(&at(String::new())).await, Stage::Connect, Fault::ClientCertificateRequired);
    assert_eq!(mend(&diagnosis), "tls.certificate = ...");
    // Of another authority, and of one that was made anew under the same name.
    for strange in [Authority::named("strange"), Authority::new()] {
        let examination = doctor(&at(with(&strange.sign("client")))).await;
        let diagnosis = failed(&examination, Stage::Connect, Fault::ClientCertificateRefused);
        assert_eq!(mend(&diagnosis), "tls.certificate = ...");
    }
    well(&doctor(&at(with(&authority.sign("client")))).await);
}
