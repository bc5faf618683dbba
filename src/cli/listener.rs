//! The HTTP listener: it answers from the first second with a page that shows how far the start is, and then hands over
//! to the real pages.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tower::ServiceExt;

use granary_web::starting::{Step, StepState};

use super::progress::Reporter;
use super::{Failure, Usage};

/// A listening server whose pages can be exchanged once.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    pages: Arc<RwLock<Router>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Listener {
    /// Listens and serves the starting page.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub(crate) async fn start(address: SocketAddr, reporter: Arc<Reporter>) -> Result<Self, Failure> {
        let socket = TcpListener::bind(address)
            .await
            .map_err(|error| Usage(format!("cannot listen on {address}: {error}; choose another address with --listen 127.0.0.1:PORT")))?;
        let address = socket.local_addr()?;
        let pages = Arc::new(RwLock::new(starting(reporter)));
        let (stop, mut stopped) = watch::channel(false);
        let outer = Router::new().fallback(forward).with_state(Arc::clone(&pages));
        let task = tokio::spawn(async move {
            let gone = async move {
                // An error means that the sender is gone, which is a stop as well.
                let _ = stopped.wait_for(|&is_stopped| is_stopped).await;
            };
            axum::serve(socket, outer.into_make_service_with_connect_info::<SocketAddr>()).with_graceful_shutdown(gone).await
        });
        Ok(Self { address, pages, stop, task })
    }

    /// Exchanges the starting page for the real pages.
    pub(crate) fn hand_over(&self, pages: Router) {
        *self.pages.write().unwrap_or_else(PoisonError::into_inner) = pages;
    }

    /// Ends the open requests, at most five seconds long, and stops.
    pub(crate) async fn stop(self) {
        // Nobody listens any more when the task has ended by itself.
        let _ = self.stop.send(true);
        if tokio::time::timeout(std::time::Duration::from_secs(5), self.task).await.is_err() {
            tracing::warn!("some requests were still open after five seconds");
        }
    }
}

async fn forward(State(pages): State<Arc<RwLock<Router>>>, request: Request<Body>) -> Response {
    let router = pages.read().unwrap_or_else(PoisonError::into_inner).clone();
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn starting(reporter: Arc<Reporter>) -> Router {
    let page = move |uri: axum::http::Uri| {
        let steps: Vec<Step> = reporter.steps().into_iter().map(shown).collect();
        async move { granary_web::starting::answer(uri.path(), &steps).await }
    };
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(|| async { (StatusCode::SERVICE_UNAVAILABLE, "starting\n") }))
        .fallback(page)
}

fn shown(step: super::progress::Step) -> Step {
    let state = if step.is_finished { StepState::Done } else { StepState::Running { done: step.done, total: step.total } };
    Step { name: step.name, state }
}
