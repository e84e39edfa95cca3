//! TLS for syslog (RFC 5425), by rustls.

use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Where Debian, and most others, keep the certificates that the system trusts.
const SYSTEM: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];

/// A connection over TLS.
pub type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Speaks TLS over a connection to `host`, whose certificate is checked.
///
/// # Errors
/// If the server's certificate is not one for `host` that is trusted, or the server does not speak TLS 1.2 or later.
pub fn connect(mut stream: TcpStream, host: &str, authorities: Option<&PathBuf>) -> io::Result<Stream> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots(authorities)?)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| io::Error::new(ErrorKind::InvalidInput, error))?;
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(StreamOwned::new(connection, stream))
}

fn roots(authorities: Option<&PathBuf>) -> io::Result<RootCertStore> {
    let system = || SYSTEM.into_iter().map(Path::new).find(|path| path.exists());
    let path = authorities.map(PathBuf::as_path).or_else(system);
    let path = path.ok_or_else(|| io::Error::other("no certificates are there to check the server's by"))?;
    let fail =
        |error| io::Error::other(format!("cannot read the certificates in `{}`: {error}", path.display()));
    let mut roots = RootCertStore::empty();
    let certificates: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(fail)?.filter_map(Result::ok).collect();
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        return Err(io::Error::other(format!("no certificate is in `{}`", path.display())));
    }
    Ok(roots)
}
