//! The relay on tokio-tungstenite. It flushes after each message; with `--coalesce` it writes as long as messages
//! wait and then flushes.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use onsembl_bench_relays::{ANSWER, Dashboards, serve};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let coalesce = std::env::args().any(|word| word == "--coalesce");
    serve(move |stream, dashboards| link(stream, dashboards, coalesce)).await
}

async fn link(stream: TcpStream, dashboards: Dashboards, coalesce: bool) {
    let mut watches = false;
    // The defaults are 128 KiB a connection.
    let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(4096);
    #[allow(clippy::result_large_err)]
    let role = |request: &Request, response: Response| {
        watches = request.uri().path().ends_with("dashboard");
        Ok(response)
    };
    let Ok(link) = accept_hdr_async_with_config(stream, role, Some(config)).await else { return };
    // An end of a link is no fault of a relay.
    let _ = if watches {
        watch(link, &dashboards, coalesce).await
    } else {
        feed(link, &dashboards).await
    };
}

type Ended = Result<(), tokio_tungstenite::tungstenite::Error>;

async fn feed(mut link: WebSocketStream<TcpStream>, dashboards: &Dashboards) -> Ended {
    while let Some(message) = link.next().await {
        match message? {
            Message::Text(_) => link.send(Message::text(ANSWER)).await?,
            Message::Binary(bytes) => dashboards.send(bytes).await,
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {}
        }
    }
    Ok(())
}

async fn watch(
    mut link: WebSocketStream<TcpStream>,
    dashboards: &Dashboards,
    coalesce: bool,
) -> Ended {
    let mut messages = dashboards.join();
    loop {
        tokio::select! {
            message = messages.recv() => {
                let Some(message) = message else { return Ok(()) };
                if coalesce {
                    gather(&mut link, message, &mut messages).await?;
                } else {
                    link.send(Message::Binary(message)).await?;
                }
            }
            heard = link.next() => match heard {
                Some(Ok(Message::Text(_))) => link.send(Message::text(ANSWER)).await?,
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
        }
    }
}

async fn gather(
    link: &mut WebSocketStream<TcpStream>,
    first: Bytes,
    messages: &mut tokio::sync::mpsc::Receiver<Bytes>,
) -> Ended {
    link.feed(Message::Binary(first)).await?;
    while let Ok(message) = messages.try_recv() {
        link.feed(Message::Binary(message)).await?;
    }
    link.flush().await
}
