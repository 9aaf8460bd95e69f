//! CRLs by URL: only the configured ones, never what a certificate names (CVE-2022-40617), and never within an exchange.

use std::path::Path;
use std::time::Duration;

use policy::model::revocation::CrlUrl;

use super::lists::{self, KIND, Taken};
use super::{Common, http};
use crate::revocation::crl::MAX_CRL;
use crate::revocation::crl::store::Origin;

/// How long a fetch may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// When to ask again after news, until there is another list: a CA shows its old one for some 30 to 90 ms.
const AGAIN: [Duration; 7] = [
    Duration::ZERO,
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
];

/// Fetches at each interval and after each news.
pub async fn poll(from: CrlUrl, interval: Duration, common: Common) {
    let mut news = common.news.subscribe();
    loop {
        fetch(&from, &common).await;
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            changed = news.changed() => {
                if changed.is_err() {
                    return;
                }
                burst(&from, &common, &mut news).await;
            }
        }
    }
}

/// Until there is another list. News that comes meanwhile begins it anew.
async fn burst(from: &CrlUrl, common: &Common, news: &mut tokio::sync::watch::Receiver<u64>) {
    let mut pause = AGAIN.into_iter();
    while let Some(next) = pause.next() {
        tokio::select! {
            () = tokio::time::sleep(next) => {}
            changed = news.changed() => {
                if changed.is_err() {
                    return;
                }
                pause = AGAIN.into_iter();
            }
        }
        if fetch(from, common).await {
            return;
        }
    }
}

/// Gives whether there was another list.
async fn fetch(from: &CrlUrl, common: &Common) -> bool {
    let (url, ca) = (from.url.as_str(), from.ca.as_deref().map(Path::new));
    let answer = tokio::time::timeout(PATIENCE, http::get(url, ca, MAX_CRL)).await;
    let octets = match answer {
        Ok(Ok(octets)) => octets,
        Ok(Err(error)) => {
            common.health.bad(KIND, url, &error.to_string());
            return false;
        }
        Err(_elapsed) => {
            common.health.bad(KIND, url, &format!("no answer within {} s", PATIENCE.as_secs()));
            return false;
        }
    };
    let (with, origin) = (common.clone(), Origin::Configured(url.to_owned()));
    let taken: Taken =
        tokio::task::spawn_blocking(move || lists::take(&octets, &origin, &with)).await.unwrap_or_default();
    let is_new = taken.is_new;
    lists::tell(taken, common).await;
    is_new
}
