//! The nonces of signed requests, each good for one request.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

/// How long a nonce is remembered: longer than a signed time can be right, which is 15 minutes both ways.
const MEMORY: Duration = Duration::from_secs(31 * 60);

#[derive(Default)]
pub(in super::super) struct Nonces {
    used: HashSet<(String, String)>,
    in_order: VecDeque<(Duration, (String, String))>,
}

impl Nonces {
    /// Uses a nonce of a key up, or says that it was used before.
    pub(in super::super) fn take(&mut self, key_id: &str, nonce: &str, uptime: Duration) -> bool {
        while let Some((_, old)) = self.in_order.pop_front_if(|(at, _)| *at + MEMORY < uptime) {
            self.used.remove(&old);
        }
        let entry = (key_id.to_owned(), nonce.to_owned());
        let is_new = self.used.insert(entry.clone());
        if is_new {
            self.in_order.push_back((uptime, entry));
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_good_once_for_each_key_and_forgotten_in_the_end() {
        let mut nonces = Nonces::default();
        for (key, nonce, minutes, good) in [
            ("a", "1", 0, true),
            ("a", "1", 0, false),
            ("b", "1", 1, true),
            ("a", "2", 1, true),
            ("a", "1", 31, false),
            ("a", "1", 32, true),
            ("b", "1", 32, false),
        ] {
            let at = Duration::from_secs(minutes * 60);
            assert_eq!(nonces.take(key, nonce, at), good, "{key} {nonce} at {minutes}");
        }
    }
}
