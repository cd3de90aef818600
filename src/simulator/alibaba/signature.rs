//! Checks a request's signature, written from Alibaba's document "V3 request structure and signature" and from nothing of keywheel's
//! own signer.

use super::super::answer::Refusal;
use super::super::head::{Head, hosts, only};
use super::super::settings::Credential;
use crate::moment::Moment;
use chrono::NaiveDateTime;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

/// How far a request's time may be from the cloud's, in seconds (Alibaba, OpenAPI error table: 15 minutes).
const SKEW_LIMIT_SECONDS: u64 = 15 * 60;

const ALGORITHM: &str = "ACS3-HMAC-SHA256";

/// `x-acs-date`, always in UTC.
const DATE_FORMAT: &str = "%Y-%m-%dT%H:%M:%SZ";

/// Everything but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// `Authorization`, taken apart.
struct Claim<'a> {
    key_id: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

/// Who signed, and the number that makes the request the only one of its kind.
#[derive(Debug)]
pub(in super::super) struct Proof<'a> {
    pub(in super::super) key_id: &'a str,
    pub(in super::super) nonce: &'a str,
}

/// Accepts a request signed by one of `credentials` within fifteen minutes of `now`. The nonce is the caller's to judge.
pub(in super::super) fn verify<'a>(
    head: &Head<'a>,
    body: &[u8],
    credentials: &[Credential],
    now: Moment,
) -> Result<Proof<'a>, Refusal> {
    let incomplete = |what: &str| Refusal::new("IncompleteSignature", format!("The request's {what}."));
    let claim = only(head.headers, "authorization")
        .and_then(read_claim)
        .ok_or_else(|| incomplete("Authorization header cannot be read"))?;
    let date = only(head.headers, "x-acs-date")
        .and_then(|text| NaiveDateTime::parse_from_str(text, DATE_FORMAT).ok())
        .map(|date| Moment::from(date.and_utc()))
        .ok_or_else(|| {
            Refusal::new("InvalidTimeStamp.Format", "x-acs-date is missing or not like 2025-01-01T00:00:00Z.")
        })?;
    if now.seconds().abs_diff(date.seconds()) > SKEW_LIMIT_SECONDS {
        return Err(Refusal::new("InvalidTimeStamp.Expired", "The request's time is more than 15 minutes off."));
    }
    let nonce = only(head.headers, "x-acs-signature-nonce")
        .filter(|nonce| !nonce.is_empty())
        .ok_or_else(|| incomplete("nonce is missing"))?;
    let credential = credentials
        .iter()
        .find(|credential| credential.secret_id == claim.key_id)
        .ok_or_else(|| Refusal::new("InvalidAccessKeyId.NotFound", "The specified access key is not found."))?;
    if let Some(name) = unsigned(head, &claim, body) {
        return Err(incomplete(&format!("header {name} is not signed")));
    }
    let digest = hex::encode(Sha256::digest(body));
    let matches = only(head.headers, "x-acs-content-sha256") == Some(&digest)
        && hosts(head.headers).into_iter().any(|host| {
            canonical(head, &claim, &host, &digest).is_some_and(|canonical| {
                let text = format!("{ALGORITHM}\n{}", hex::encode(Sha256::digest(canonical)));
                hmac(credential.secret_key.expose(), &text) == claim.signature
            })
        });
    if !matches {
        return Err(Refusal::new("SignatureDoesNotMatch", "The signature does not match the request."));
    }
    let token = only(head.headers, "x-acs-security-token");
    let names_another = only(head.headers, "x-acs-accesskey-id").is_some_and(|id| id != claim.key_id);
    // Which of its InvalidSecurityToken codes the vendor answers is made up.
    if token != credential.token.as_ref().map(|token| token.expose()) || names_another {
        return Err(Refusal::new("InvalidSecurityToken.Malformed", "The security token is missing or wrong."));
    }
    Ok(Proof { key_id: claim.key_id, nonce })
}

/// Unlike Tencent's, this one has no spaces after its commas.
fn read_claim(text: &str) -> Option<Claim<'_>> {
    let mut parts = text.strip_prefix(ALGORITHM)?.strip_prefix(' ')?.split(',');
    let key_id = parts.next()?.strip_prefix("Credential=")?;
    let signed_headers = parts.next()?.strip_prefix("SignedHeaders=")?;
    let signature = parts.next()?.strip_prefix("Signature=")?;
    parts.next().is_none().then_some(Claim { key_id, signed_headers, signature })
}

/// A header that must be signed and is not: `host` and every `x-acs-` header, and `content-type` where there is a body.
fn unsigned<'a>(head: &Head<'a>, claim: &Claim<'_>, body: &[u8]) -> Option<&'a str> {
    let is_signed = |name: &str| claim.signed_headers.split(';').any(|signed| signed == name);
    let must_be =
        |name: &str| name == "host" || name.starts_with("x-acs-") || (name == "content-type" && !body.is_empty());
    let present = head.headers.keys().map(|name| name.as_str());
    std::iter::once("host").chain(present).find(|name| must_be(name) && !is_signed(name))
}

/// The canonical request; `None` where the signed headers are not as the document wants them.
fn canonical(head: &Head<'_>, claim: &Claim<'_>, host: &str, digest: &str) -> Option<String> {
    let names: Vec<&str> = claim.signed_headers.split(';').collect();
    if !names.windows(2).all(|pair| pair[0] < pair[1]) {
        return None;
    }
    let mut lines = String::new();
    for name in names {
        let value = if name == "host" { host } else { only(head.headers, name)? };
        lines.push_str(&format!("{name}:{}\n", value.trim()));
    }
    let Head { method, path, query, .. } = head;
    Some(format!("{method}\n{path}\n{}\n{lines}\n{}\n{digest}", canonical_query(query), claim.signed_headers))
}

/// The query with its parameters in order and encoded in one way, whatever way they came in.
fn canonical_query(query: &str) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
    let mut pairs: Vec<(String, String)> =
        url::form_urlencoded::parse(query.as_bytes()).map(|(name, value)| (encoded(&name), encoded(&value))).collect();
    pairs.sort();
    let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

fn hmac(key: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use hyper::HeaderMap;
    use hyper::header::{HeaderName, HeaderValue};

    /// One published or SDK-made request.
    struct Vector {
        key: (&'static str, &'static str, Option<&'static str>),
        host: &'static str,
        action: &'static str,
        version: &'static str,
        date: &'static str,
        nonce: &'static str,
        query: &'static str,
        body: &'static str,
        signature: &'static str,
    }

    const ID: &str = "LTAI5tFAKEFAKEFAKEFAKE01";
    const KEY: &str = "FakeAliyunSecretKeyForVectors1";
    const FORM: &str = "application/x-www-form-urlencoded";

    const NORMAL: Vector = Vector {
        key: (ID, KEY, None),
        host: "r-kvstore.aliyuncs.com",
        action: "",
        version: "2015-01-01",
        date: "2025-01-01T00:00:00Z",
        nonce: "3156853299f313e23d1673dc12e1703d",
        query: "",
        body: "",
        signature: "",
    };

    /// A0 is the vendor document's own; A1 to A4 were made with the vendor's Python SDK.
    const VECTORS: [Vector; 5] = [
        Vector {
            key: ("YourAccessKeyId", "YourAccessKeySecret", None),
            host: "ecs.cn-shanghai.aliyuncs.com",
            action: "RunInstances",
            version: "2014-05-26",
            date: "2023-10-26T10:22:32Z",
            query: "ImageId=win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd&RegionId=cn-shanghai",
            signature: "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0",
            ..NORMAL
        },
        Vector {
            action: "ModifyAccountPassword",
            query: "AccountName=testaccount&InstanceId=r-bp1zxszhcgatnx00&NewAccountPassword=aB3%21%40%23%24%25%5E%26%2A%28%29_%2B-%3D&OldAccountPassword=Old_Passw0rd%21",
            signature: "f25351ba8d10a08b779b77ef484ddf1ee0ae7f78248040d3b83b00de1198a2bf",
            ..NORMAL
        },
        Vector {
            host: "r-kvstore.cn-beijing.aliyuncs.com",
            action: "ResetAccountPassword",
            nonce: "5e2a2b9d0c7f4f0a8d6b1c3e4f5a6b7c",
            body: "AccountName=testaccount&AccountPassword=aB3%21%40%23%24%25%5E%26%2A%28%29_%2B-%3D&InstanceId=r-bp1zxszhcgatnx00",
            signature: "6324823177d8ece1d84f2c83c1db68fdb0c69675092182f5c190d596ceb4bd0a",
            ..NORMAL
        },
        Vector {
            key: ("STS.NFAKEFAKEFAKEFAKE01", KEY, Some("FAKE-STS-TOKEN-0001")),
            action: "DescribeAccounts",
            date: "2025-01-01T23:59:59Z",
            nonce: "0f0e0d0c0b0a09080706050403020100",
            query: "InstanceId=r-bp1zxszhcgatnx00",
            signature: "0158181283f92355df93d5fe78c6fa662bb4b28268dc9e27b24f3927fd5b7335",
            ..NORMAL
        },
        Vector {
            host: "kms.cn-hangzhou.aliyuncs.com",
            action: "PutSecretValue",
            version: "2016-01-20",
            nonce: "11112222333344445555666677778888",
            body: "SecretData=%7B%22password%22%3A%22aB3%21x%22%7D&SecretName=redis%2Fprod%2Fapp&VersionId=rot-20250101T000000Z",
            signature: "4b8e0b6e943ac4e833d439122878ad59b5ce6e2ba0a9e74a4da29ddca6ac65d1",
            ..NORMAL
        },
    ];

    impl Vector {
        fn headers(&self) -> HeaderMap {
            let sts = self.key.2.map(|token| [("x-acs-accesskey-id", self.key.0), ("x-acs-security-token", token)]);
            let form = (!self.body.is_empty()).then_some(("content-type", FORM));
            let digest = hex::encode(Sha256::digest(self.body));
            let mut headers: Vec<(&'static str, &str)> = [
                ("host", self.host),
                ("x-acs-action", self.action),
                ("x-acs-content-sha256", &digest),
                ("x-acs-date", self.date),
                ("x-acs-signature-nonce", self.nonce),
                ("x-acs-version", self.version),
            ]
            .into_iter()
            .chain(form)
            .chain(sts.into_iter().flatten())
            .collect();
            headers.sort_unstable();
            let signed: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
            let authorization = format!(
                "ACS3-HMAC-SHA256 Credential={},SignedHeaders={},Signature={}",
                self.key.0,
                signed.join(";"),
                self.signature
            );
            headers.push(("authorization", &authorization));
            let value = |text: &str| text.parse::<HeaderValue>().unwrap();
            headers.iter().map(|(name, text)| (HeaderName::from_static(name), value(text))).collect()
        }

        fn now(&self) -> Moment {
            Moment::from(NaiveDateTime::parse_from_str(self.date, DATE_FORMAT).unwrap().and_utc())
        }

        /// The code of the refusal; `None` where the request is accepted.
        fn judge(&self, headers: &HeaderMap, query: &str, body: &[u8], seconds: i64) -> Option<String> {
            let secret = |text: &str| Secret::new(text.to_owned());
            let credential = Credential {
                secret_id: self.key.0.to_owned(),
                secret_key: secret(self.key.1),
                token: self.key.2.map(secret),
            };
            let head = Head { method: "POST", path: "/", query, headers };
            let now = Moment::from_seconds(self.now().seconds() + seconds);
            verify(&head, body, &[credential], now).err().map(|refusal| refusal.code)
        }
    }

    #[test]
    fn every_vector_is_accepted() {
        for vector in &VECTORS {
            let verdict = vector.judge(&vector.headers(), vector.query, vector.body.as_bytes(), 0);
            assert_eq!(verdict, None, "{} {}", vector.action, vector.signature);
        }
    }

    #[test]
    fn the_order_and_the_spelling_of_the_query_do_not_matter() {
        let vector = &VECTORS[1];
        for query in [
            "OldAccountPassword=Old_Passw0rd!&NewAccountPassword=aB3!%40%23%24%25%5e%26*()_%2b-%3D&InstanceId=r-bp1zxszhcgatnx00&AccountName=testaccount",
            "&AccountName=%74estaccount&&InstanceId=r-bp1zxszhcgatnx00&NewAccountPassword=aB3%21@%23$%25%5E%26%2A%28%29_%2B-=&OldAccountPassword=Old_Passw0rd%21",
        ] {
            assert_eq!(vector.judge(&vector.headers(), query, b"", 0), None, "{query}");
        }
        let plus = vector.query.replace("%2B", "+");
        assert_eq!(vector.judge(&vector.headers(), &plus, b"", 0).as_deref(), Some("SignatureDoesNotMatch"));
    }

    #[test]
    fn a_flipped_bit_is_refused_wherever_it_is() {
        let flip = |bytes: &[u8], place: usize| {
            let mut flipped = bytes.to_vec();
            flipped[place / 8] ^= 1 << (place % 8);
            flipped
        };
        for vector in &VECTORS {
            let headers = vector.headers();
            let body = vector.body.as_bytes();
            for place in 0..body.len() * 8 {
                assert!(vector.judge(&headers, vector.query, &flip(body, place), 0).is_some(), "body bit {place}");
            }
            for place in 0..vector.query.len() * 8 {
                let Ok(query) = String::from_utf8(flip(vector.query.as_bytes(), place)) else {
                    continue;
                };
                // The same parameters spelt otherwise, such as %2b for %2B, are the same request.
                let same = canonical_query(&query) == vector.query;
                assert!(!same || query.eq_ignore_ascii_case(vector.query), "{query}");
                assert_eq!(vector.judge(&headers, &query, body, 0).is_none(), same, "query bit {place}");
            }
            for name in headers.keys() {
                let value = headers[name].as_bytes();
                for place in 0..value.len() * 8 {
                    let Ok(flipped) = HeaderValue::from_bytes(&flip(value, place)) else {
                        continue;
                    };
                    let mut changed = headers.clone();
                    changed.insert(name.clone(), flipped);
                    assert!(vector.judge(&changed, vector.query, body, 0).is_some(), "{name} bit {place}");
                }
            }
        }
    }

    #[test]
    fn wrong_heads_have_their_codes() {
        let vector = &VECTORS[3];
        let without = |name: &str| {
            let mut headers = vector.headers();
            headers.remove(name);
            headers
        };
        let with = |name: &'static str, value: &str| {
            let mut headers = vector.headers();
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
            headers
        };
        for (headers, seconds, code) in [
            (vector.headers(), 900, None),
            (vector.headers(), -900, None),
            (with("user-agent", "anyone"), 0, None),
            (vector.headers(), 901, Some("InvalidTimeStamp.Expired")),
            (vector.headers(), -901, Some("InvalidTimeStamp.Expired")),
            (without("x-acs-date"), 0, Some("InvalidTimeStamp.Format")),
            (without("authorization"), 0, Some("IncompleteSignature")),
            (without("x-acs-signature-nonce"), 0, Some("IncompleteSignature")),
            (with("x-acs-retry-attempts", "1"), 0, Some("IncompleteSignature")),
            (without("x-acs-content-sha256"), 0, Some("SignatureDoesNotMatch")),
            (without("x-acs-security-token"), 0, Some("SignatureDoesNotMatch")),
            (without("host"), 0, Some("SignatureDoesNotMatch")),
        ] {
            assert_eq!(vector.judge(&headers, vector.query, b"", seconds).as_deref(), code, "{headers:?} {seconds}");
        }
        let headers = VECTORS[1].headers();
        let sts = Vector { key: (ID, KEY, Some("token")), ..NORMAL };
        let judged = sts.judge(&headers, VECTORS[1].query, b"", 0);
        assert_eq!(judged.as_deref(), Some("InvalidSecurityToken.Malformed"), "temporary keys need their token");
        let other = Vector { key: ("LTAIsomebodyelse", KEY, None), ..NORMAL };
        let judged = other.judge(&headers, VECTORS[1].query, b"", 0);
        assert_eq!(judged.as_deref(), Some("InvalidAccessKeyId.NotFound"));
        let wrong = Vector { key: (ID, "another key", None), ..NORMAL };
        let judged = wrong.judge(&headers, VECTORS[1].query, b"", 0);
        assert_eq!(judged.as_deref(), Some("SignatureDoesNotMatch"));
    }
}
