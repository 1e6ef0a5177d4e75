//! The relay on fastwebsockets, which writes each frame at once.

use bytes::Bytes;
use fastwebsockets::upgrade::{UpgradeFut, is_upgrade_request, upgrade};
use fastwebsockets::{Frame, OpCode, Payload, WebSocketError};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use onsembl_bench_relays::{ANSWER, Dashboards, serve};
use tokio::net::TcpStream;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    serve(link).await
}

async fn link(stream: TcpStream, dashboards: Dashboards) {
    let service = service_fn(move |request| answer(request, dashboards.clone()));
    // An end of a link is no fault of a relay.
    let _ = http1::Builder::new()
        .max_buf_size(8192)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
}

async fn answer(
    mut request: Request<Incoming>,
    dashboards: Dashboards,
) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    if !is_upgrade_request(&request) {
        let mut refused = Response::new(Empty::new());
        *refused.status_mut() = hyper::StatusCode::BAD_REQUEST;
        return Ok(refused);
    }
    let watches = request.uri().path().ends_with("dashboard");
    let (response, link) = upgrade(&mut request)?;
    tokio::spawn(async move {
        let _ = if watches { watch(link, dashboards).await } else { feed(link, dashboards).await };
    });
    Ok(response)
}

async fn feed(link: UpgradeFut, dashboards: Dashboards) -> Result<(), WebSocketError> {
    let mut link = link.await?;
    link.set_writev(true);
    loop {
        let frame = link.read_frame().await?;
        match frame.opcode {
            OpCode::Text => {
                link.write_frame(Frame::text(Payload::Borrowed(ANSWER.as_bytes()))).await?
            }
            OpCode::Binary => dashboards.send(Bytes::from(Vec::from(frame.payload))).await,
            OpCode::Close => return Ok(()),
            OpCode::Continuation | OpCode::Ping | OpCode::Pong => {}
        }
    }
}

async fn watch(link: UpgradeFut, dashboards: Dashboards) -> Result<(), WebSocketError> {
    let mut link = link.await?;
    // Its hello. Before the answer it is one of those who watch, since agents may write right behind that.
    let _ = link.read_frame().await?;
    let mut messages = dashboards.join();
    link.write_frame(Frame::text(Payload::Borrowed(ANSWER.as_bytes()))).await?;
    let (mut read, mut write) = link.split(tokio::io::split);
    write.set_writev(true);
    let ended = tokio::spawn(async move {
        // What it says besides is not answered.
        let mut nothing = |_| async { Ok::<(), WebSocketError>(()) };
        while read.read_frame(&mut nothing).await.is_ok() {}
    });
    while let Some(message) = messages.recv().await {
        if ended.is_finished() {
            break;
        }
        write.write_frame(Frame::binary(Payload::Borrowed(&message))).await?;
    }
    Ok(())
}
