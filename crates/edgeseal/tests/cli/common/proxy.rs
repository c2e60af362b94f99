//! A cache or CDN that misbehaves: forwards requests to an edge and alters what comes back.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use reqwest::blocking::{Client, Response};

/// One answer on its way back to the client.
pub(crate) struct Passing {
    pub(crate) path: String,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// Listens on a free port, forwards to `edge` and lets `meddle` alter every answer; gives its own address.
pub(crate) fn start(edge: &str, meddle: impl Fn(&mut Passing) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (edge, meddle) = (edge.to_owned(), Arc::new(meddle));
    let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (edge, meddle, client) = (edge.clone(), Arc::clone(&meddle), client.clone());
            std::thread::spawn(move || serve(&stream, &edge, &client, &*meddle));
        }
    });
    url
}

/// Requests of one connection, one after another, until the client hangs up.
fn serve(stream: &TcpStream, edge: &str, client: &Client, meddle: &dyn Fn(&mut Passing)) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut request_line = String::new();
        if reader.read_line(&mut request_line).unwrap_or(0) == 0 {
            return;
        }
        let path = request_line.split(' ').nth(1).unwrap().to_owned();
        let mut request = client.get(format!("{edge}{path}"));
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            if !matches!(name.to_ascii_lowercase().as_str(), "host" | "connection") {
                request = request.header(name, value.trim());
            }
        }
        let mut passing = taken(path, request.send().unwrap());
        meddle(&mut passing);
        let mut head = format!("HTTP/1.1 {} -\r\n", passing.status);
        for (name, value) in &passing.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("content-length: {}\r\n\r\n", passing.body.len());
        let mut stream = stream;
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&passing.body)).is_err() {
            return;
        }
    }
}

fn taken(path: String, mut response: Response) -> Passing {
    let headers = response
        .headers()
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "content-length" | "connection" | "transfer-encoding"))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    let status = response.status().as_u16();
    let mut body = Vec::new();
    response.read_to_end(&mut body).unwrap();
    Passing { path, status, headers, body }
}
