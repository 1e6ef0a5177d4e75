//! Connections to several addresses, a moment apart; the first that stands wins (RFC 8305, section 5).

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// From one attempt to the next while none has failed: what RFC 8305 recommends.
const NEXT_AFTER: Duration = Duration::from_millis(250);

/// How a race ended.
#[derive(Debug)]
pub(super) struct Finish<T> {
    /// The connection that stands, and to where.
    pub(super) won: Option<(T, SocketAddr)>,
    /// Those that failed, in the order in which they did.
    pub(super) failed: Vec<(SocketAddr, io::Error)>,
    /// Those without an outcome when the race ended.
    pub(super) open: Vec<SocketAddr>,
}

/// Connects to these addresses until one connection stands, all have failed, or the time is over.
pub(super) async fn race<T, Fut>(
    addresses: &[SocketAddr],
    by: Instant,
    connect: impl Fn(SocketAddr) -> Fut,
) -> Finish<T>
where
    Fut: Future<Output = io::Result<T>>,
{
    let mut attempts = FuturesUnordered::new();
    let mut waiting = addresses.iter().copied();
    let mut next = waiting.next();
    let mut next_at = Instant::now();
    let mut finish = Finish { won: None, failed: Vec::new(), open: addresses.to_vec() };
    loop {
        if next.is_none() && attempts.is_empty() {
            return finish;
        }
        let outcome = tokio::select! {
            biased;
            Some(outcome) = attempts.next(), if !attempts.is_empty() => Some(outcome),
            () = sleep_until(next_at), if next.is_some() => None,
            () = sleep_until(by) => return finish,
        };
        match outcome {
            None => {
                if let Some(address) = next {
                    let attempt = connect(address);
                    attempts.push(async move { (address, attempt.await) });
                }
                next = waiting.next();
                next_at = Instant::now() + NEXT_AFTER;
            }
            Some((address, Ok(connection))) => {
                finish.open.retain(|other| *other != address);
                finish.won = Some((connection, address));
                return finish;
            }
            Some((address, Err(error))) => {
                finish.open.retain(|other| *other != address);
                finish.failed.push((address, error));
                next_at = Instant::now();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n], 1))
    }

    /// The last part of an address says what becomes of it: up to 100 it stands after as many ms.
    async fn connect(address: SocketAddr) -> io::Result<u8> {
        let SocketAddr::V4(v4) = address else { panic!("{address}") };
        match v4.ip().octets()[3] {
            n @ ..=100 => {
                tokio::time::sleep(Duration::from_millis(n.into())).await;
                Ok(n)
            }
            101 => Err(io::ErrorKind::ConnectionRefused.into()),
            _ => std::future::pending().await,
        }
    }

    async fn raced(addresses: &[u8]) -> (Finish<u8>, Duration) {
        let addresses: Vec<_> = addresses.iter().map(|n| at(*n)).collect();
        let began = Instant::now();
        let finish = race(&addresses, began + Duration::from_secs(5), connect).await;
        (finish, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_black_hole_costs_a_quarter_of_a_second() {
        let (finish, took) = raced(&[200, 201, 202, 203, 204, 205, 50]).await;
        assert_eq!(finish.won, Some((50, at(50))));
        assert!(took <= Duration::from_millis(1600), "{took:?}");
        assert_eq!(finish.open.len(), 6);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_costs_nothing() {
        let (finish, took) = raced(&[101, 101, 1]).await;
        assert_eq!(finish.won, Some((1, at(1))));
        assert!(took < Duration::from_millis(10), "{took:?}");
        assert!(finish.open.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_address_wins_if_it_is_quick_enough() {
        let (finish, _) = raced(&[100, 1]).await;
        assert_eq!(finish.won, Some((100, at(100))));
        assert_eq!(finish.open, [at(1)], "the second was not even tried");
    }

    #[tokio::test(start_paused = true)]
    async fn a_race_that_nobody_wins_ends() {
        let (finish, took) = raced(&[200, 101]).await;
        assert!(finish.won.is_none());
        assert_eq!((finish.failed.len(), took), (1, Duration::from_secs(5)));
        let (finish, took) = raced(&[101]).await;
        assert!(finish.won.is_none() && took < Duration::from_millis(2), "{took:?}");
        assert!(raced(&[]).await.0.won.is_none());
    }
}
