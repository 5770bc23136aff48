//! What native tests of a task need, beside [`Input::new`](crate::Input::new)
//! and [`Output::new`](crate::Output::new).

#[cfg(not(target_family = "wasm"))]
pub use native::{HttpAnswer, HttpRequest, answer_http, block_on};

#[cfg(not(target_family = "wasm"))]
mod native {
    use crate::http::Headers;
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake};
    use std::thread::{self, Thread};

    /// Runs the calls of an [`AsyncTask`](crate::AsyncTask) outside of a
    /// component. There is none in a component: an `async fn` is awaited there.
    ///
    /// ```
    /// use tigerflow_task::testing::block_on;
    ///
    /// assert_eq!(block_on(async { 1 + 1 }), 2);
    /// ```
    pub fn block_on<F: Future>(future: F) -> F::Output {
        struct Unpark(Thread);

        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }

        let waker = Arc::new(Unpark(thread::current())).into();
        let mut context = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            match future.as_mut().poll(&mut context) {
                Poll::Ready(value) => return value,
                Poll::Pending => thread::park(),
            }
        }
    }

    /// What a task asked a server.
    #[derive(Debug, Clone)]
    pub struct HttpRequest {
        /// The method: `GET`.
        pub method: String,
        /// The whole URL.
        pub url: String,
        /// All headers, with names in lower case.
        pub headers: Headers,
        /// The whole body.
        pub body: Vec<u8>,
    }

    /// What a server answers.
    #[derive(Debug, Clone)]
    pub struct HttpAnswer {
        pub(crate) status: u16,
        pub(crate) headers: Vec<(String, String)>,
        pub(crate) body: Vec<u8>,
    }

    impl HttpAnswer {
        /// An answer of this status, without headers and body.
        #[must_use]
        pub fn new(status: u16) -> Self {
            Self { status, headers: Vec::new(), body: Vec::new() }
        }

        /// Adds a header.
        #[must_use]
        pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
            self.headers.push((name.into(), value.into()));
            self
        }

        /// Sets the body.
        #[must_use]
        pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
            self.body = body.into();
            self
        }
    }

    /// Says what the servers answer that this thread asks from now on.
    ///
    /// ```
    /// use tigerflow_task::http::blocking as http;
    /// use tigerflow_task::testing::{HttpAnswer, answer_http};
    ///
    /// answer_http(|request| match &*request.url {
    ///     "https://example.org/a" => HttpAnswer::new(200).body("the letter a"),
    ///     _ => HttpAnswer::new(404),
    /// });
    /// let answer = http::get("https://example.org/a").send().unwrap();
    /// assert_eq!(answer.text().unwrap(), "the letter a");
    /// ```
    pub fn answer_http(servers: impl FnMut(&HttpRequest) -> HttpAnswer + 'static) {
        crate::http::native::SERVERS.replace(Some(Box::new(servers)));
    }
}
