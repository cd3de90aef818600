//! Checks a request's signature, written from Tencent's document "Signature method v3" and from nothing of keywheel's own signer.

use super::super::answer::Refusal;
use super::super::head::{Head, hosts, only};
use super::super::settings::Credential;
use crate::moment::Moment;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// How far a request's time may be from the cloud's, in seconds (Tencent, common error `AuthFailure.SignatureExpire`).
pub const SKEW_LIMIT_SECONDS: i64 = 300;

const ALGORITHM: &str = "TC3-HMAC-SHA256";

/// `Authorization`, taken apart.
struct Claim<'a> {
    secret_id: &'a str,
    scope: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

/// Accepts a request signed by one of `credentials` for `service` within five minutes of `now`.
pub(in super::super) fn verify(
    head: &Head<'_>,
    body: &[u8],
    credentials: &[Credential],
    service: &str,
    now: Moment,
) -> Result<(), Refusal> {
    let claim = only(head.headers, "authorization")
        .and_then(read_claim)
        .ok_or_else(|| Refusal::new("AuthFailure.InvalidAuthorization", "The Authorization header cannot be read."))?;
    let timestamp = only(head.headers, "x-tc-timestamp")
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse::<i64>().ok())
        .ok_or_else(|| Refusal::new("MissingParameter", "X-TC-Timestamp is missing or no number."))?;
    if now.seconds().abs_diff(timestamp) > SKEW_LIMIT_SECONDS.unsigned_abs() {
        return Err(Refusal::new(
            "AuthFailure.SignatureExpire",
            "The request's time is more than five minutes from the server's.",
        ));
    }
    let credential = credentials
        .iter()
        .find(|credential| credential.secret_id == claim.secret_id)
        .ok_or_else(|| Refusal::new("AuthFailure.SecretIdNotFound", "There is no such SecretId."))?;
    let date = Moment::from_seconds(timestamp).utc().format("%Y-%m-%d").to_string();
    let scope = format!("{date}/{service}/tc3_request");
    let key = [service, "tc3_request"]
        .iter()
        .fold(hmac(format!("TC3{}", credential.secret_key.expose()).as_bytes(), &date), |key, part| hmac(&key, part));
    let matches = claim.scope == scope
        && hosts(head.headers).into_iter().any(|host| {
            canonical(head, &claim, &host, body).is_some_and(|canonical| {
                let digest = hex::encode(Sha256::digest(canonical.as_bytes()));
                let signature = hmac(&key, &format!("{ALGORITHM}\n{timestamp}\n{scope}\n{digest}"));
                hex::encode(signature) == claim.signature
            })
        });
    if !matches {
        return Err(Refusal::new("AuthFailure.SignatureFailure", "The signature does not match the request."));
    }
    let token = only(head.headers, "x-tc-token");
    if token != credential.token.as_ref().map(|token| token.expose()) {
        return Err(Refusal::new("AuthFailure.TokenFailure", "The session token is missing, wrong or expired."));
    }
    Ok(())
}

fn read_claim(text: &str) -> Option<Claim<'_>> {
    let mut parts = text.strip_prefix(ALGORITHM)?.strip_prefix(' ')?.split(", ");
    let (secret_id, scope) = parts.next()?.strip_prefix("Credential=")?.split_once('/')?;
    let signed_headers = parts.next()?.strip_prefix("SignedHeaders=")?;
    let signature = parts.next()?.strip_prefix("Signature=")?;
    parts.next().is_none().then_some(Claim { secret_id, scope, signed_headers, signature })
}

/// The canonical request; `None` where the signed headers are not as the document wants them.
fn canonical(head: &Head<'_>, claim: &Claim<'_>, host: &str, body: &[u8]) -> Option<String> {
    let names: Vec<&str> = claim.signed_headers.split(';').collect();
    let in_order = names.windows(2).all(|pair| pair[0] < pair[1]);
    let covers_enough = ["content-type", "host"].iter().all(|name| names.contains(name));
    if !in_order || !covers_enough {
        return None;
    }
    let mut lines = String::new();
    for name in names {
        let value = if name == "host" { host } else { only(head.headers, name)? };
        lines.push_str(&format!("{name}:{}\n", value.trim().to_ascii_lowercase()));
    }
    Some(format!(
        "{}\n{}\n{}\n{lines}\n{}\n{}",
        head.method,
        head.path,
        head.query,
        claim.signed_headers,
        hex::encode(Sha256::digest(body))
    ))
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use hyper::HeaderMap;
    use hyper::header::{HeaderName, HeaderValue};

    const ID: &str = "AKIDEXAMPLEfakefakefakefake000000001";
    const KEY: &str = "FakeSecretKeyForTestVectorsOnly01";
    const JSON: &str = "application/json";
    const CHARSET: &str = "application/json; charset=utf-8";
    const TWO: &str = "content-type;host";
    const THREE: &str = "content-type;host;x-tc-action";
    const COMPACT: &str = r#"{"InstanceId":"crs-5a4p0000","OldPassword":"OldPassw0rd!01","Password":"NewPassw0rd!02"}"#;

    /// One published or SDK-made request.
    struct Vector {
        key: (&'static str, &'static str, Option<&'static str>),
        time: i64,
        service: &'static str,
        host: &'static str,
        action: &'static str,
        content_type: &'static str,
        signed: &'static str,
        payload: &'static str,
        signature: &'static str,
    }

    const NORMAL: Vector = Vector {
        key: (ID, KEY, None),
        time: 1_735_689_600,
        service: "redis",
        host: "redis.tencentcloudapi.com",
        action: "ModifyInstancePassword",
        content_type: JSON,
        signed: TWO,
        payload: COMPACT,
        signature: "",
    };

    /// T0 is the vendor document's own; T1 to T4 and T6 to T8 were made with the vendor's Python SDK.
    const VECTORS: [Vector; 10] = [
        Vector {
            key: (ID, "********************************", None),
            time: 1_551_113_065,
            service: "cvm",
            host: "cvm.tencentcloudapi.com",
            action: "DescribeInstances",
            content_type: CHARSET,
            signed: THREE,
            payload: r#"{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}"#,
            signature: "10b1a37a7301a02ca19a647ad722d5e43b4b3cff309d421d85b46093f6ab6c4f",
        },
        Vector {
            payload: r#"{"InstanceId": "crs-5a4p0000", "OldPassword": "OldPassw0rd!01", "Password": "NewPassw0rd!02"}"#,
            signature: "ec9d0cbc6e9a5be0e13f92e3a42d077996529f985fb12c1a6c67c52061a5f429",
            ..NORMAL
        },
        Vector {
            key: (
                "AKIDEXAMPLEtempfakefake000000000002",
                "FakeTmpSecretKeyForVectors000002",
                Some("FAKE-SESSION-TOKEN-0001"),
            ),
            time: 1_735_775_999,
            host: "redis.intl.tencentcloudapi.com",
            action: "DescribeTaskInfo",
            payload: r#"{"TaskId": 16661}"#,
            signature: "1badfde77433cf68774fa0f9861b72dc96815cf71f6cd3fe448f16fb46b847c8",
            ..NORMAL
        },
        Vector {
            host: "redis.ap-shanghai-fsi.tencentcloudapi.com",
            action: "ResetPassword",
            payload: r#"{"InstanceId": "crs-5a4p0000", "Password": "a\"\\/<>&%+#\u00e9\u5bc6A1"}"#,
            signature: "298d3320b91d9f1fdd08ef109079d60f4593fa4bc42e1777618b2436ca3764fa",
            ..NORMAL
        },
        Vector {
            action: "DescribeInstances",
            payload: "{}",
            signature: "5b3b4e884f6fb77ad23d4d87d6145b3579400cf76e14472bf9c2202d812ccde6",
            ..NORMAL
        },
        Vector {
            content_type: CHARSET,
            signed: THREE,
            signature: "c5c67fcf14fb48659000bc0fa569668425b09d1ba63a49d757a93253815029ae",
            ..NORMAL
        },
        Vector { signature: "4fb56204ad93527862eea501c0603e96b8d127e7a3248a89b0d2b1a7946a4d75", ..NORMAL },
        Vector {
            content_type: CHARSET,
            signature: "d9892dd385638f1e5a0e630e02551ee88e80bdc4a274c4f1e3f685d4559ad640",
            ..NORMAL
        },
        Vector {
            service: "ssm",
            host: "ssm.tencentcloudapi.com",
            action: "GetSecretValue",
            payload: r#"{"SecretName":"redis-app","VersionId":"v1"}"#,
            signature: "cca7fd5c28383d9c23b954cc5cb171688f1d23c066289683a0b41531340b2da0",
            ..NORMAL
        },
        Vector {
            service: "sts",
            host: "sts.tencentcloudapi.com",
            action: "AssumeRole",
            payload: r#"{"RoleArn":"qcs::cam::uin/100000000001:roleName/rotator","RoleSessionName":"rotator","DurationSeconds":7200}"#,
            signature: "5334cf292f5b8aca472569e33d53439f1f8dd95392736636c06f5a34d8db8337",
            ..NORMAL
        },
    ];

    impl Vector {
        fn headers(&self) -> HeaderMap {
            let date = Moment::from_seconds(self.time).utc().format("%Y-%m-%d");
            let authorization = format!(
                "TC3-HMAC-SHA256 Credential={}/{date}/{}/tc3_request, SignedHeaders={}, Signature={}",
                self.key.0, self.service, self.signed, self.signature
            );
            let token = self.key.2.map(|token| ("x-tc-token", token.to_owned()));
            [
                ("host", self.host.to_owned()),
                ("content-type", self.content_type.to_owned()),
                ("x-tc-action", self.action.to_owned()),
                ("x-tc-timestamp", self.time.to_string()),
                ("authorization", authorization),
            ]
            .into_iter()
            .chain(token)
            .map(|(name, value)| (HeaderName::from_static(name), value.parse::<HeaderValue>().unwrap()))
            .collect()
        }

        fn credential(&self) -> Credential {
            let secret = |text: &str| Secret::new(text.to_owned());
            Credential {
                secret_id: self.key.0.to_owned(),
                secret_key: secret(self.key.1),
                token: self.key.2.map(secret),
            }
        }

        /// The code of the refusal; `None` where the request is accepted.
        fn judge(&self, headers: &HeaderMap, payload: &[u8], seconds: i64) -> Option<String> {
            let head = Head { method: "POST", path: "/", query: "", headers };
            let now = Moment::from_seconds(seconds);
            verify(&head, payload, &[self.credential()], self.service, now).err().map(|refusal| refusal.code)
        }
    }

    #[test]
    fn every_vector_is_accepted() {
        for vector in &VECTORS {
            let verdict = vector.judge(&vector.headers(), vector.payload.as_bytes(), vector.time);
            assert_eq!(verdict, None, "{} {}", vector.action, vector.signature);
        }
    }

    #[test]
    fn a_flipped_bit_is_refused_wherever_it_is() {
        for vector in &VECTORS {
            let headers = vector.headers();
            for place in 0..vector.payload.len() * 8 {
                let mut payload = vector.payload.as_bytes().to_vec();
                payload[place / 8] ^= 1 << (place % 8);
                assert!(vector.judge(&headers, &payload, vector.time).is_some(), "payload bit {place}");
            }
            let covered = ["authorization", "x-tc-timestamp", "x-tc-token"].into_iter().chain(vector.signed.split(';'));
            for name in covered.filter(|name| headers.contains_key(*name)) {
                let value = headers[name].as_bytes();
                for place in 0..value.len() * 8 {
                    let mut flipped = value.to_vec();
                    flipped[place / 8] ^= 1 << (place % 8);
                    // Values are compared in lower case and without outer spaces, by the vendor's rule; in `authorization` nothing is.
                    let same = name != "authorization" && name != "x-tc-token" && flipped.eq_ignore_ascii_case(value);
                    let Ok(flipped) = HeaderValue::from_bytes(&flipped) else {
                        continue;
                    };
                    let mut changed = headers.clone();
                    changed.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), flipped);
                    let verdict = vector.judge(&changed, vector.payload.as_bytes(), vector.time);
                    assert_eq!(verdict.is_none(), same, "{name} bit {place}");
                }
            }
        }
    }

    #[test]
    fn wrong_heads_have_their_codes() {
        let vector = &VECTORS[1];
        let body = vector.payload.as_bytes();
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
            (vector.headers(), vector.time + 300, None),
            (vector.headers(), vector.time - 300, None),
            (vector.headers(), vector.time + 301, Some("AuthFailure.SignatureExpire")),
            (vector.headers(), vector.time - 301, Some("AuthFailure.SignatureExpire")),
            (without("authorization"), vector.time, Some("AuthFailure.InvalidAuthorization")),
            (with("authorization", "SKIP"), vector.time, Some("AuthFailure.InvalidAuthorization")),
            (without("x-tc-timestamp"), vector.time, Some("MissingParameter")),
            (without("host"), vector.time, Some("AuthFailure.SignatureFailure")),
            (with("content-type", "text/plain"), vector.time, Some("AuthFailure.SignatureFailure")),
            (with("x-tc-token", "one too many"), vector.time, Some("AuthFailure.TokenFailure")),
        ] {
            assert_eq!(vector.judge(&headers, body, seconds).as_deref(), code, "{headers:?}");
        }
        let headers = vector.headers();
        for (method, path, query) in [("GET", "/", ""), ("POST", "/x", ""), ("POST", "/", "a=b")] {
            let head = Head { method, path, query, headers: &headers };
            let now = Moment::from_seconds(vector.time);
            assert!(verify(&head, body, &[vector.credential()], "redis", now).is_err(), "{method} {path} {query}");
        }
    }

    #[test]
    fn an_unknown_key_and_a_wrong_one_differ() {
        let vector = &VECTORS[1];
        for (id, key, code) in [
            ("AKIDsomebodyelse", KEY, "AuthFailure.SecretIdNotFound"),
            (ID, "another key", "AuthFailure.SignatureFailure"),
        ] {
            let credential =
                Credential { secret_id: id.to_owned(), secret_key: Secret::new(key.to_owned()), token: None };
            let headers = vector.headers();
            let head = Head { method: "POST", path: "/", query: "", headers: &headers };
            let now = Moment::from_seconds(vector.time);
            let refusal = verify(&head, vector.payload.as_bytes(), &[credential], "redis", now).unwrap_err();
            assert_eq!(refusal.code, code);
        }
    }
}
