//! Handing news to announcers, each at its own pace: a slow one gets the latest, never a backlog.

use std::sync::Arc;
use std::time::Duration;

use edgeseal_store::Announcer;
use tokio::sync::watch;

use super::Current;

/// First pause after a failure; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Announces until nobody hands out news any more.
pub(super) async fn announce(announcer: Arc<dyn Announcer>, mut news: watch::Receiver<Arc<Current>>) {
    let mut pause = FIRST_PAUSE;
    news.mark_changed();
    while news.changed().await.is_ok() {
        // The watch holds one value, the latest: that is the whole queue.
        let latest = Arc::clone(&news.borrow_and_update());
        match announcer.announce(&latest.environment, &latest.set).await {
            Ok(()) => {
                if pause != FIRST_PAUSE {
                    tracing::info!(environment = %latest.environment, "news get through again");
                }
                pause = FIRST_PAUSE;
            }
            Err(error) => {
                if pause == FIRST_PAUSE {
                    tracing::warn!(environment = %latest.environment, %error, "trying until it works");
                }
                tokio::time::sleep(pause).await;
                pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
                news.mark_changed();
            }
        }
    }
}
