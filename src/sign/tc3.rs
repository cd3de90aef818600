//! TC3-HMAC-SHA256, the signature of Tencent Cloud API 3.0 (vendor document "Signature method v3").

use super::{Signer, mac, sha256};
use crate::moment::Moment;
use crate::secret::Secret;
use zeroize::Zeroizing;

const ALGORITHM: &str = "TC3-HMAC-SHA256";
const TERMINATOR: &str = "tc3_request";

/// Everything about a `POST /` request that its signature covers.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    /// The first label of the product's domain: `redis`, `ssm`, `sts`.
    pub service: &'a str,
    /// The host as the `Host` header carries it: lower case, with a port unless it is the scheme's own.
    pub host: &'a str,
    /// The `Content-Type`, byte for byte as it is sent.
    pub content_type: &'a str,
    /// Further headers to sign, with lower-case names. `content-type` and `host` are always signed and do not stand here.
    pub also_signed: &'a [(&'a str, &'a str)],
    /// The exact bytes of the body.
    pub payload: &'a [u8],
    /// The time of signing; the cloud accepts five minutes of difference.
    pub timestamp: Moment,
}

/// The headers that make the request whole: the signed ones exactly as they were signed, the timestamp, and the authorization.
///
/// A session token (`X-TC-Token`), the region and the version are not part of the signature and are added by the caller.
#[must_use]
pub fn sign(head: &Head<'_>, signer: Signer<'_>) -> Vec<(String, String)> {
    let signed = signed_headers(head);
    let mut headers: Vec<(String, String)> =
        signed.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    headers.push(("x-tc-timestamp".to_owned(), head.timestamp.seconds().to_string()));
    headers.push(("authorization".to_owned(), authorization(head, signer)));
    headers
}

fn authorization(head: &Head<'_>, signer: Signer<'_>) -> String {
    let to_sign = string_to_sign(head, &canonical_request(head));
    let [_, _, signing] = keys(head, signer.key);
    let signature = hex::encode(*mac(&*signing, to_sign.as_bytes()));
    format!(
        "{ALGORITHM} Credential={}/{}, SignedHeaders={}, Signature={signature}",
        signer.id,
        scope(head),
        signed_names(head)
    )
}

/// The signed headers, sorted by name.
fn signed_headers<'a>(head: &Head<'a>) -> Vec<(&'a str, &'a str)> {
    let mut headers = vec![("content-type", head.content_type), ("host", head.host)];
    headers.extend_from_slice(head.also_signed);
    headers.sort_unstable();
    headers
}

fn signed_names(head: &Head<'_>) -> String {
    let names: Vec<&str> = signed_headers(head).into_iter().map(|(name, _)| name).collect();
    names.join(";")
}

fn canonical_request(head: &Head<'_>) -> String {
    let headers: String = signed_headers(head)
        .into_iter()
        .map(|(name, value)| format!("{name}:{}\n", value.trim().to_lowercase()))
        .collect();
    format!("POST\n/\n\n{headers}\n{}\n{}", signed_names(head), sha256(head.payload))
}

fn string_to_sign(head: &Head<'_>, canonical: &str) -> String {
    format!("{ALGORITHM}\n{}\n{}\n{}", head.timestamp.seconds(), scope(head), sha256(canonical.as_bytes()))
}

fn scope(head: &Head<'_>) -> String {
    format!("{}/{}/{TERMINATOR}", day(head), head.service)
}

/// The UTC day of the signature, never the local one.
fn day(head: &Head<'_>) -> String {
    head.timestamp.utc().format("%Y-%m-%d").to_string()
}

/// The chain of derived keys: kDate, kService, and the kSigning that signs.
fn keys(head: &Head<'_>, key: &Secret) -> [Zeroizing<[u8; 32]>; 3] {
    let first = Zeroizing::new(format!("TC3{}", key.expose()));
    let date = mac(first.as_bytes(), day(head).as_bytes());
    let service = mac(&*date, head.service.as_bytes());
    let signing = mac(&*service, TERMINATOR.as_bytes());
    [date, service, signing]
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = "application/json";
    const JSON_UTF8: &str = "application/json; charset=utf-8";
    const FAKE: (&str, &str) = ("AKIDEXAMPLEfakefakefakefake000000001", "FakeSecretKeyForTestVectorsOnly01");
    const TEMPORARY: (&str, &str) = ("AKIDEXAMPLEtempfakefake000000000002", "FakeTmpSecretKeyForVectors000002");
    const NEW_YEAR: i64 = 1_735_689_600;

    /// One row of the published or cross-checked vectors. An empty stage was not published.
    struct Vector {
        name: &'static str,
        signer: (&'static str, &'static str),
        service: &'static str,
        host: &'static str,
        content_type: &'static str,
        action: &'static str,
        timestamp: i64,
        payload: &'static str,
        payload_sha: &'static str,
        canonical: &'static str,
        canonical_sha: &'static str,
        to_sign: &'static str,
        keys: [&'static str; 3],
        signature: &'static str,
    }

    const VECTOR: Vector = Vector {
        name: "",
        signer: FAKE,
        service: "redis",
        host: "redis.tencentcloudapi.com",
        content_type: JSON,
        action: "",
        timestamp: NEW_YEAR,
        payload: "",
        payload_sha: "",
        canonical: "",
        canonical_sha: "",
        to_sign: "",
        keys: ["", "", ""],
        signature: "",
    };

    const FAKE_REDIS_NEW_YEAR: [&str; 3] = [
        "35e80f0fadf920c8372f5ab35e33df039dba5a749ca184e4db0f2cf6e10e4272",
        "97f7bf9e43ceb54f250d6dbfed67c623f975da1f802fbfec41c53f10e3d3bf19",
        "058734531b3a8cd54da63acb432d6c6631c89e4a569335155b04580c0ff63339",
    ];
    const COMPACT: &str = r#"{"InstanceId":"crs-5a4p0000","OldPassword":"OldPassw0rd!01","Password":"NewPassw0rd!02"}"#;
    const COMPACT_SHA: &str = "888427369360a692abb8586bef777579fa568bc582bf46f14bfa6ff18f06de31";

    const VECTORS: &[Vector] = &[
        Vector {
            name: "T0 the vendor's own",
            signer: ("", "********************************"),
            service: "cvm",
            host: "cvm.tencentcloudapi.com",
            content_type: JSON_UTF8,
            action: "DescribeInstances",
            timestamp: 1_551_113_065,
            payload: r#"{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}"#,
            payload_sha: "35e9c5b0e3ae67532d3c9f17ead6c90222632e5b1ff7f6e89887f1398934f064",
            canonical_sha: "7019a55be8395899b900fb5564e4200d984910f34794a27cb3fb7d10ff6a1e84",
            keys: [
                "da98fb70dcf6b112dc21038d1eeeb3a95c74b4dcb12c1131f864f6066bd02be0",
                "8d70cbefb03939f929db64d32dc2ba89b1095620119fe3e050e2b18c5bd2752f",
                "b596b923aad85185e2d1f6659d2a062e0a86731226e021e61bfe06f7ed05f5af",
            ],
            signature: "10b1a37a7301a02ca19a647ad722d5e43b4b3cff309d421d85b46093f6ab6c4f",
            ..VECTOR
        },
        Vector {
            name: "T1 ModifyInstancePassword",
            payload: r#"{"InstanceId": "crs-5a4p0000", "OldPassword": "OldPassw0rd!01", "Password": "NewPassw0rd!02"}"#,
            payload_sha: "54d68cefaaa71004439867f89dbf1ca7ad09da4eb49c29052f00b507b893f387",
            canonical: "POST\n/\n\ncontent-type:application/json\nhost:redis.tencentcloudapi.com\n\ncontent-type;host\n54d68cefaaa71004439867f89dbf1ca7ad09da4eb49c29052f00b507b893f387",
            canonical_sha: "e2c1fe05788ff61ad2cee4d522b775606878d709d090d96ce640584406ea5e67",
            to_sign: "TC3-HMAC-SHA256\n1735689600\n2025-01-01/redis/tc3_request\ne2c1fe05788ff61ad2cee4d522b775606878d709d090d96ce640584406ea5e67",
            keys: FAKE_REDIS_NEW_YEAR,
            signature: "ec9d0cbc6e9a5be0e13f92e3a42d077996529f985fb12c1a6c67c52061a5f429",
            ..VECTOR
        },
        Vector {
            name: "T2 temporary credentials, last second of the UTC day",
            signer: TEMPORARY,
            host: "redis.intl.tencentcloudapi.com",
            timestamp: 1_735_775_999,
            payload: r#"{"TaskId": 16661}"#,
            payload_sha: "24af8f290aebdea13130bb127ca9542351d7032ad21cfd0539f3cbee22d55f21",
            canonical_sha: "8246c46c1d2306f80b2ed35c965e8dd9ad34f10c420bab05a27827b8e1a99fc6",
            to_sign: "TC3-HMAC-SHA256\n1735775999\n2025-01-01/redis/tc3_request\n8246c46c1d2306f80b2ed35c965e8dd9ad34f10c420bab05a27827b8e1a99fc6",
            keys: ["", "", "259fc476504ff312ad24728c2ca0c32b76d88e6904c25b794b958c09733b0dfc"],
            signature: "1badfde77433cf68774fa0f9861b72dc96815cf71f6cd3fe448f16fb46b847c8",
            ..VECTOR
        },
        Vector {
            name: "T3 ResetPassword, financial zone, escapes",
            host: "redis.ap-shanghai-fsi.tencentcloudapi.com",
            payload: r#"{"InstanceId": "crs-5a4p0000", "Password": "a\"\\/<>&%+#\u00e9\u5bc6A1"}"#,
            payload_sha: "72b714ab6dfa61785d4bbe66aae24879160e481647917078810fdd22e49ce735",
            canonical_sha: "3cf91159c7a0bcfe3fb019f84c17c94267bb6152309c4283a99714385147e4d2",
            keys: FAKE_REDIS_NEW_YEAR,
            signature: "298d3320b91d9f1fdd08ef109079d60f4593fa4bc42e1777618b2436ca3764fa",
            ..VECTOR
        },
        Vector {
            name: "T4 no parameters",
            payload: "{}",
            payload_sha: "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            canonical_sha: "8d58468ae9492a0e072d71ce10f66dfb949aec613a11ab8443d404262ab31fea",
            keys: FAKE_REDIS_NEW_YEAR,
            signature: "5b3b4e884f6fb77ad23d4d87d6145b3579400cf76e14472bf9c2202d812ccde6",
            ..VECTOR
        },
        Vector {
            name: "T5 the action signed as the document does",
            content_type: JSON_UTF8,
            action: "ModifyInstancePassword",
            payload: COMPACT,
            payload_sha: COMPACT_SHA,
            canonical_sha: "39f0635a8e9ca2f5b1ba353a046ba6834d507e33653bf58337a4231f510dc0a8",
            keys: FAKE_REDIS_NEW_YEAR,
            signature: "c5c67fcf14fb48659000bc0fa569668425b09d1ba63a49d757a93253815029ae",
            ..VECTOR
        },
        Vector {
            name: "T6 compact JSON",
            payload: COMPACT,
            payload_sha: COMPACT_SHA,
            canonical_sha: "441cd0c8bb6655d3f10381c9449d67c0f9fc30d7de018e30f0fd9f42dddf639e",
            keys: FAKE_REDIS_NEW_YEAR,
            signature: "4fb56204ad93527862eea501c0603e96b8d127e7a3248a89b0d2b1a7946a4d75",
            ..VECTOR
        },
        Vector {
            name: "T6 compact JSON with charset",
            content_type: JSON_UTF8,
            payload: COMPACT,
            payload_sha: COMPACT_SHA,
            canonical_sha: "f26e88d4088d3234d0ba59b215b34d9da78e4441fe84964011a18f6e92388458",
            keys: FAKE_REDIS_NEW_YEAR,
            signature: "d9892dd385638f1e5a0e630e02551ee88e80bdc4a274c4f1e3f685d4559ad640",
            ..VECTOR
        },
        Vector {
            name: "T7 service ssm",
            service: "ssm",
            host: "ssm.tencentcloudapi.com",
            payload: r#"{"SecretName":"redis-app","VersionId":"v1"}"#,
            payload_sha: "c16b161d80bb9b74dfc6a8629da7f9b6b684282bf0505131529888bd5876d61e",
            canonical_sha: "f151bfb7870127ed60db3eb254e63928bda0db7cfc87040678d4c88e2185aa9e",
            signature: "cca7fd5c28383d9c23b954cc5cb171688f1d23c066289683a0b41531340b2da0",
            ..VECTOR
        },
        Vector {
            name: "T8 service sts",
            service: "sts",
            host: "sts.tencentcloudapi.com",
            payload: r#"{"RoleArn":"qcs::cam::uin/100000000001:roleName/rotator","RoleSessionName":"rotator","DurationSeconds":7200}"#,
            payload_sha: "ba5b2a7a5ed8644e6e8db96269bc2be94f25bd77f575b3b20ac2d30bdcdda44a",
            canonical_sha: "b72739d6ac9e912a1226a50a8cd95b2c95a6e9a189ff23fa9da717bd04abf3ce",
            signature: "5334cf292f5b8aca472569e33d53439f1f8dd95392736636c06f5a34d8db8337",
            ..VECTOR
        },
    ];

    fn same(name: &str, stage: &str, computed: &str, published: &str) {
        assert!(published.is_empty() || computed == published, "{name}, {stage}: {computed} is not {published}");
    }

    #[test]
    fn every_stage_of_every_vector() {
        for vector in VECTORS {
            let action = [("x-tc-action", vector.action)];
            let head = Head {
                service: vector.service,
                host: vector.host,
                content_type: vector.content_type,
                also_signed: if vector.action.is_empty() { &[] } else { &action },
                payload: vector.payload.as_bytes(),
                timestamp: Moment::from_seconds(vector.timestamp),
            };
            let (id, key) = (vector.signer.0, Secret::new(vector.signer.1.to_owned()));
            let canonical = canonical_request(&head);
            let chain = keys(&head, &key);
            let name = vector.name;
            same(name, "payload", &sha256(head.payload), vector.payload_sha);
            same(name, "canonical request", &canonical, vector.canonical);
            same(name, "its hash", &sha256(canonical.as_bytes()), vector.canonical_sha);
            same(name, "string to sign", &string_to_sign(&head, &canonical), vector.to_sign);
            for (link, published) in chain.iter().zip(vector.keys) {
                same(name, "derived key", &hex::encode(**link), published);
            }

            let names = if vector.action.is_empty() { "content-type;host" } else { "content-type;host;x-tc-action" };
            let date = if vector.service == "cvm" { "2019-02-25" } else { "2025-01-01" };
            let authorization = format!(
                "TC3-HMAC-SHA256 Credential={id}/{date}/{}/tc3_request, SignedHeaders={names}, Signature={}",
                vector.service, vector.signature
            );
            let headers = sign(&head, Signer { id, key: &key });
            let sent =
                |wanted: &str| headers.iter().find(|(header, _)| header == wanted).map(|(_, value)| value.as_str());
            assert_eq!(sent("authorization"), Some(authorization.as_str()), "{name}");
            assert_eq!(sent("host"), Some(vector.host), "{name}");
            assert_eq!(sent("content-type"), Some(vector.content_type), "{name}");
            assert_eq!(sent("x-tc-timestamp"), Some(vector.timestamp.to_string().as_str()), "{name}");
            assert_eq!(sent("x-tc-action").unwrap_or(""), vector.action, "{name}");
        }
    }
}
