//! The certificate of a server that speaks TLS. Made anew for each server, so that there is no key to keep secret.

use crate::Error;

/// Returns a self-signed certificate for the names that a client may dial, and its key, both in PEM.
pub(crate) fn self_signed() -> Result<(String, String), Error> {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).map_err(|error| {
        Error::caused(
            "no certificate could be made for the private PostgreSQL",
            error,
        )
    })?;
    Ok((made.cert.pem(), made.signing_key.serialize_pem()))
}
