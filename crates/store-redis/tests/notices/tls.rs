//! `rediss://`, through a TLS endpoint in front of the server.
//!
//! Every endpoint has an authority, a key and a certificate of its own, made for the one test.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;

/// Where TLS is spoken, and who vouches for it.
struct Endpoint {
    /// `host:port`
    address: String,
    /// The authority's certificate, PEM.
    authority: String,
}

#[tokio::test]
async fn with_its_authority_the_server_is_trusted() {
    let redis = Redis::start_own();
    let endpoint = endpoint(&redis).await;
    let url = format!("rediss://{}", endpoint.address);
    let authority = Some(endpoint.authority.into_bytes());
    let notices = RedisNotices::open(&Settings { url, authority, ..Settings::default() }).unwrap();
    notices.announce(&Environment::default(), &set(1, 1, 1, 100)).await.unwrap();
    let mut subscription = notices.subscribe(&Environment::default());
    expect_back(&mut subscription).await;
    assert_eq!(*expect_news(&mut subscription).await, documents_of(&set(1, 1, 1, 100)));
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let redis = Redis::start_own();
    let url = format!("rediss://:hush@{}", endpoint(&redis).await.address);
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

/// Listens with TLS and hands everything to `redis`.
async fn endpoint(redis: &Redis) -> Endpoint {
    let target = redis.url()["redis://".len()..].to_owned();
    let authority = authority();
    let config = server_config(&authority);
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
    Endpoint { address: format!("localhost:{}", address.port()), authority: authority.pem() }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "an authority for one test");
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server that calls itself `localhost`, and `authority` says so too.
fn server_config(authority: &CertifiedIssuer<'_, KeyPair>) -> ServerConfig {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.into()], key.into())
        .unwrap()
}
