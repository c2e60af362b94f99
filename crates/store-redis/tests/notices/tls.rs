//! `rediss://`, through a TLS endpoint in front of the server.
//!
//! The key in `tls/` protects nothing: it was made for this test, and the authority's own key was thrown away.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;

const AUTHORITY: &[u8] = include_bytes!("tls/authority.pem");
const CERTIFICATE: &[u8] = include_bytes!("tls/server.pem");
const KEY: &[u8] = include_bytes!("tls/server-key.pem");

#[tokio::test]
async fn with_its_authority_the_server_is_trusted() {
    let redis = Redis::start_own();
    let url = format!("rediss://{}", endpoint(&redis).await);
    let notices =
        RedisNotices::open(&Settings { url, authority: Some(AUTHORITY.to_vec()), ..Settings::default() })
            .unwrap();
    notices.announce(&Environment::default(), &set(1, 1, 1, 100)).await.unwrap();
    let mut subscription = notices.subscribe(&Environment::default());
    expect_back(&mut subscription).await;
    assert_eq!(*expect_news(&mut subscription).await, documents_of(&set(1, 1, 1, 100)));
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let redis = Redis::start_own();
    let url = format!("rediss://:hush@{}", endpoint(&redis).await);
    let notices = RedisNotices::open(&Settings { url, ..Settings::default() }).unwrap();
    let trouble =
        notices.announce(&Environment::default(), &set(1, 1, 1, 100)).await.unwrap_err().to_string();
    assert!(trouble.contains("certificate") && !trouble.contains("hush"), "{trouble}");
}

#[tokio::test]
async fn a_server_without_tls_is_refused() {
    let redis = Redis::start_own();
    let url = redis.url().replace("redis://", "rediss://");
    let notices = RedisNotices::open(&Settings { url, ..Settings::default() }).unwrap();
    assert!(notices.announce(&Environment::default(), &set(1, 1, 1, 100)).await.is_err());
}

/// Listens with TLS and hands everything to `redis`; gives `host:port`.
async fn endpoint(redis: &Redis) -> String {
    let target = redis.url()["redis://".len()..].to_owned();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE).unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, target) = (acceptor.clone(), target.clone());
            tokio::spawn(async move {
                let Ok(mut outside) = acceptor.accept(stream).await else { return };
                let mut inside = TcpStream::connect(target).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
            });
        }
    });
    format!("localhost:{}", address.port())
}
