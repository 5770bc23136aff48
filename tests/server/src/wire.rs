//! A connection as hyper sees it: plain or TLS, with the two faults that are
//! below HTTP.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// What stands in place of an answer in [`Link::garble`].
const GARBAGE: &[u8] = b"\x07\x00 nothing like HTTP \xff\xfe\r\n\r\n\r\nnor is this\n";

const AS_USUAL: u8 = 0;
const GARBLE: u8 = 1;
const GARBLED: u8 = 2;
const RESET: u8 = 3;

/// What is known of a connection, and what shall become of it.
#[derive(Debug)]
pub struct Link {
    /// The first one is 1.
    pub number: usize,
    /// Whether it is over TLS.
    pub secure: bool,
    /// Whether it came through the proxy.
    pub proxied: bool,
    fate: AtomicU8,
}

impl Link {
    /// One that goes its usual way.
    pub fn new(number: usize, secure: bool, proxied: bool) -> Self {
        Link { number, secure, proxied, fate: AtomicU8::new(AS_USUAL) }
    }

    /// Has the connection reset in place of the next write.
    pub fn reset(&self) {
        self.fate.store(RESET, Relaxed);
    }

    /// Has garbage written in place of the next write, and nothing more.
    pub fn garble(&self) {
        self.fate.store(GARBLE, Relaxed);
    }
}

/// The bytes below HTTP.
pub enum Stream {
    /// As they are.
    Plain(TcpStream),
    /// In TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// One connection.
pub struct Wire {
    stream: Stream,
    link: Arc<Link>,
}

/// Calls a method of whichever stream it is.
macro_rules! on_stream {
    ($wire:expr, $stream:ident => $call:expr) => {
        match &mut $wire.stream {
            Stream::Plain($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Stream::Tls($stream) => {
                let $stream = Pin::new($stream.as_mut());
                $call
            }
        }
    };
}

impl Wire {
    /// A stream, and where its fate is told.
    pub fn new(stream: Stream, link: Arc<Link>) -> Self {
        Wire { stream, link }
    }

    /// What takes the place of a write of `length` bytes, if its fate is not the usual one.
    fn instead(&mut self, context: &mut Context, length: usize) -> Poll<Option<io::Result<usize>>> {
        match self.link.fate.load(Relaxed) {
            AS_USUAL => Poll::Ready(None),
            GARBLE => {
                let written = ready!(on_stream!(self, s => s.poll_write(context, GARBAGE)));
                self.link.fate.store(GARBLED, Relaxed);
                Poll::Ready(Some(written.map(|_| length)))
            }
            RESET => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
            _ => Poll::Ready(Some(Err(io::ErrorKind::BrokenPipe.into()))),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context,
        buffer: &mut ReadBuf,
    ) -> Poll<io::Result<()>> {
        on_stream!(self, s => s.poll_read(context, buffer))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match ready!(self.instead(context, bytes.len())) {
            Some(result) => Poll::Ready(result),
            None => on_stream!(self, s => s.poll_write(context, bytes)),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context,
        parts: &[IoSlice],
    ) -> Poll<io::Result<usize>> {
        match ready!(self.instead(context, parts.iter().map(|part| part.len()).sum())) {
            Some(result) => Poll::Ready(result),
            None => on_stream!(self, s => s.poll_write_vectored(context, parts)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<io::Result<()>> {
        on_stream!(self, s => s.poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<io::Result<()>> {
        on_stream!(self, s => s.poll_shutdown(context))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.link.fate.load(Relaxed) == RESET {
            let stream = match &self.stream {
                Stream::Plain(stream) => stream,
                Stream::Tls(stream) => stream.get_ref().0,
            };
            // The close that follows is a reset then.
            let _ = stream.set_zero_linger();
        }
    }
}
