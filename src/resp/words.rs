//! What a server's error means for a login, whoever asks.

/// A clear word that this password is wrong. Texts: `auth` of Redis 7 ("WRONGPASS"), Redis before 6 ("ERR invalid password"), and the proxies' variants
/// of them. Whatever else a server says is no evidence, since a candidate may be dropped on a refusal.
#[must_use]
pub fn is_refusal(said: &str) -> bool {
    const PHRASES: [&str; 4] =
        ["invalid password", "wrong password", "incorrect password", "invalid username-password pair"];
    let lower = said.to_ascii_lowercase();
    code(said) == "WRONGPASS" || PHRASES.iter().any(|phrase| lower.contains(phrase))
}

/// Redis 6 and newer: "AUTH `<password>` called without any password configured for the default user"; before: "Client sent AUTH, but no password is set".
#[must_use]
pub fn is_password_free(said: &str) -> bool {
    let lower = said.to_ascii_lowercase();
    lower.contains("without any password configured") || lower.contains("no password is set")
}

/// An error that has nothing to do with who asks: the question was not judged.
#[must_use]
pub fn is_about_the_server(said: &str) -> bool {
    const CODES: [&str; 6] = ["LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "DENIED"];
    CODES.contains(&code(said)) || said.to_ascii_lowercase().contains("max number of clients")
}

/// The first word, such as `NOPERM`.
#[must_use]
pub fn code(said: &str) -> &str {
    said.split(' ').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_word_is_a_refusal() {
        for (said, refused, free) in [
            ("WRONGPASS invalid username-password pair or user is disabled.", true, false),
            ("ERR invalid password", true, false),
            ("ERR Invalid Password!", true, false),
            (
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
                false,
                true,
            ),
            ("ERR Client sent AUTH, but no password is set", false, true),
            ("LOADING Redis is loading the dataset in memory", false, false),
            ("MASTERDOWN Link with MASTER is down", false, false),
            ("ERR max number of clients reached", false, false),
            ("ERR wrong number of arguments for 'auth' command", false, false),
            ("ERR syntax error", false, false),
            ("NOAUTH Authentication required.", false, false),
            ("ERR unknown", false, false),
            ("", false, false),
        ] {
            assert_eq!((is_refusal(said), is_password_free(said)), (refused, free), "{said}");
        }
    }
}
