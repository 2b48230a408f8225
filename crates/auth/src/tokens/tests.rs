//! Tests of `tokens.rs`: what is issued verifies, and everything that was ever tried against JWTs doesn't.

use super::*;
use jsonwebtoken::crypto;
use serde_json::{Value, json};
use std::error::Error as _;

/// Long ago by the system's clock, which must not matter.
const NOW: i64 = 1_700_000_000;
const HEADER: &str = r#"{"typ":"JWT","alg":"HS256","kid":"1"}"#;

fn at(secs: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(NOW + secs).unwrap()
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn uuid(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn tokens_of(tenant: u128) -> TenantTokens {
    let master = MasterKey::parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8").unwrap();
    TenantTokens::new(&master, TenantId::from(uuid(tenant)))
}

/// Signs any header and any payload with the key of tenant 1.
fn forge_as(algorithm: Algorithm, header: &str, payload: &[u8]) -> String {
    let message =
        format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(payload));
    let signature = crypto::sign(message.as_bytes(), &tokens_of(1).signing, algorithm).unwrap();
    format!("{message}.{signature}")
}

fn forge(header: &str, payload: &str) -> String {
    forge_as(Algorithm::HS256, header, payload.as_bytes())
}

fn access_claims() -> Value {
    json!({
        "iss": "portero", "aud": uuid(1), "sub": uuid(2), "sid": uuid(3), "use": "access",
        "iat": NOW, "nbf": NOW, "exp": NOW + 600,
    })
}

fn handoff_claims() -> Value {
    json!({
        "iss": "portero", "aud": uuid(1), "sub": uuid(2), "jti": uuid(4), "use": "handoff",
        "iat": NOW, "nbf": NOW, "exp": NOW + 60,
    })
}

fn with(mut claims: Value, name: &str, value: Value) -> String {
    claims[name] = value;
    claims.to_string()
}

fn without(mut claims: Value, name: &str) -> String {
    claims.as_object_mut().unwrap().remove(name).unwrap();
    claims.to_string()
}

fn access_fault(token: &str) -> Option<TokenFault> {
    tokens_of(1).verify_access(token, at(0)).err().map(TokenError::fault)
}

fn handoff_fault(token: &str) -> Option<TokenFault> {
    tokens_of(1).verify_handoff(token, at(0)).err().map(TokenError::fault)
}

#[test]
fn an_access_token_says_who_and_until_when() {
    let tokens = tokens_of(1);
    let token = tokens.issue_access(uuid(2).into(), uuid(3).into(), at(0), secs(600));
    let [header, ..] = token.split('.').collect::<Vec<_>>()[..] else { panic!("{token}") };
    assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(header).unwrap(), HEADER.as_bytes());
    assert!(token.len() < 600, "{} bytes", token.len());
    let claims = tokens.verify_access(&token, at(0)).unwrap();
    let now = NOW.unsigned_abs();
    let expected =
        AccessClaims { user: uuid(2).into(), session: uuid(3).into(), issued_at: now, expires_at: now + 600 };
    assert_eq!(claims, expected);
    // The forger of this file makes tokens that would be accepted, so its refusals mean something.
    assert_eq!(access_fault(&forge(HEADER, &access_claims().to_string())), None);
    assert_eq!(handoff_fault(&forge(HEADER, &handoff_claims().to_string())), None);
}

#[test]
fn a_handoff_is_short_and_is_no_access() {
    let tokens = tokens_of(1);
    let handoff = tokens.issue_handoff(uuid(2).into(), uuid(4), at(0));
    let access = tokens.issue_access(uuid(2).into(), uuid(3).into(), at(0), secs(30));
    let claims = tokens.verify_handoff(&handoff, at(59)).unwrap();
    let expires_at = NOW.unsigned_abs() + 60;
    assert_eq!(claims, HandoffClaims { user: uuid(2).into(), jti: uuid(4), expires_at });
    assert_eq!(tokens.verify_handoff(&handoff, at(75)).unwrap_err().fault(), TokenFault::Expired);
    assert_eq!(access_fault(&handoff), Some(TokenFault::Use));
    assert_eq!(handoff_fault(&access), Some(TokenFault::Use));
    assert_eq!(handoff_fault(&forge(HEADER, &without(handoff_claims(), "jti"))), Some(TokenFault::Claims));
    let long = with(handoff_claims(), "exp", json!(NOW + 61));
    assert_eq!(handoff_fault(&forge(HEADER, &long)), Some(TokenFault::Lifetime));
    let both = with(handoff_claims(), "sid", json!(uuid(3)));
    assert_eq!(handoff_fault(&forge(HEADER, &both)), Some(TokenFault::Claims));
}

#[test]
fn clocks_may_differ_by_seconds_not_by_a_minute() {
    let tokens = tokens_of(1);
    let token = tokens.issue_access(uuid(2).into(), uuid(3).into(), at(0), secs(600));
    for (secs, fault) in [
        (-60, Some(TokenFault::NotYet)),
        (-16, Some(TokenFault::NotYet)),
        (-15, None),
        (-10, None),
        (0, None),
        (600, None),
        (610, None),
        (614, None),
        (615, Some(TokenFault::Expired)),
        (660, Some(TokenFault::Expired)),
    ] {
        let verified = tokens.verify_access(&token, at(secs));
        assert_eq!(verified.err().map(TokenError::fault), fault, "at {secs} s");
    }
    let before_1970 = OffsetDateTime::from_unix_timestamp(-5).unwrap();
    assert_eq!(tokens.verify_access(&token, before_1970).unwrap_err().fault(), TokenFault::NotYet);
}

#[test]
fn no_access_token_is_issued_for_longer_than_a_day() {
    let tokens = tokens_of(1);
    let token = tokens.issue_access(uuid(2).into(), uuid(3).into(), at(0), Duration::MAX);
    assert!(tokens.verify_access(&token, at(24 * 3600)).is_ok());
    assert_eq!(tokens.verify_access(&token, at(24 * 3600 + 15)).unwrap_err().fault(), TokenFault::Expired);
}

#[test]
fn hostile_headers_are_refused() {
    use TokenFault::Header;
    let claims = access_claims().to_string();
    for header in [
        r#"{"typ":"JWT","alg":"none","kid":"1"}"#,
        r#"{"typ":"JWT","alg":"None","kid":"1"}"#,
        r#"{"typ":"JWT","alg":"NONE","kid":"1"}"#,
        r#"{"typ":"JWT","alg":"hs256","kid":"1"}"#,
        r#"{"typ":"JWT","alg":"RS256","kid":"1"}"#,
        r#"{"typ":"JWT","alg":"ES256","kid":"1"}"#,
        r#"{"typ":"JWT","alg":"","kid":"1"}"#,
        r#"{"typ":"JWT","alg":["HS256"],"kid":"1"}"#,
        r#"{"typ":"JWT","kid":"1"}"#,
        r#"{"typ":"JWT","alg":"HS256"}"#,
        r#"{"alg":"HS256","kid":"1"}"#,
        r#"{"typ":"JWE","alg":"HS256","kid":"1"}"#,
        r#"{"typ":"JWT","alg":"HS256","kid":""}"#,
        r#"{"typ":"JWT","alg":"HS256","kid":1}"#,
        r#"{"typ":"JWT","alg":"HS256","kid":"2"}"#,
        r#"{"typ":"JWT","alg":"HS256","kid":"../../dev/null"}"#,
        r#"{"typ":"JWT","alg":"HS256","kid":"1' OR '1'='1"}"#,
        r#"{"typ":"JWT","alg":"HS256","kid":"00000000-0000-0000-0000-000000000002"}"#,
        r#"{"typ":"JWT","alg":"HS256","kid":"1","jku":"https://evil.example/keys"}"#,
        r#"{"typ":"JWT","alg":"HS256","kid":"1","x5u":"https://evil.example/cert"}"#,
        r#"{"typ":"JWT","alg":"HS256","kid":"1","jwk":{"kty":"oct","k":"AA"}}"#,
        r#"{"typ":"JWT","alg":"HS256","kid":"1","crit":["exp"]}"#,
        r#"{"typ":"JWT","alg":"HS256","kid":"1","zip":"DEF"}"#,
        r#"{"typ":"JWT","alg":"HS256","kid":"1","b64":false}"#,
        r#"{"typ":"JWT","alg":"HS256","alg":"HS256","kid":"1"}"#,
        r#"{"typ":"JWT","alg":"HS256","kid":"2","kid":"1"}"#,
        r#"{"typ":"JWT","alg":"HS256","kid":"1"}x"#,
        r#"["JWT","HS256","1"]"#,
        r#""HS256""#,
        "",
        "{",
    ] {
        assert_eq!(access_fault(&forge(header, &claims)), Some(Header), "{header}");
    }
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        let header = format!(r#"{{"typ":"JWT","alg":"{algorithm:?}","kid":"1"}}"#);
        let token = forge_as(algorithm, &header, claims.as_bytes());
        assert_eq!(access_fault(&token), Some(Header), "{header}");
    }
}

#[test]
fn claims_that_are_missing_or_of_another_type_are_refused() {
    for name in ["iss", "aud", "sub", "sid", "use", "iat", "nbf", "exp"] {
        let token = forge(HEADER, &without(access_claims(), name));
        assert_eq!(access_fault(&token), Some(TokenFault::Claims), "without {name}");
        for value in [json!(null), json!(true), json!({}), json!([]), json!("x"), json!(-1), json!(1.5)] {
            let claims = with(access_claims(), name, value);
            let expected =
                if claims.contains(r#""iss":"x""#) { TokenFault::Issuer } else { TokenFault::Claims };
            assert_eq!(access_fault(&forge(HEADER, &claims)), Some(expected), "{claims}");
        }
    }
    for (name, value) in [
        ("aud", json!([uuid(1)])),
        ("aud", json!([uuid(2), uuid(1)])),
        ("iss", json!(["portero"])),
        ("exp", json!((NOW + 600).to_string())),
        ("exp", json!(1_700_000_600.0)),
        ("exp", json!(1.7e9)),
        ("nbf", json!(NOW.to_string())),
        ("iat", json!(-NOW)),
        ("use", json!("Access")),
        ("use", json!("refresh")),
        ("sub", json!(format!("{}'--", uuid(2)))),
        ("jti", json!(uuid(4))),
        ("role", json!("admin")),
        ("tenant", json!(uuid(9))),
    ] {
        let claims = with(access_claims(), name, value);
        assert_eq!(access_fault(&forge(HEADER, &claims)), Some(TokenFault::Claims), "{claims}");
    }
}

#[test]
fn payloads_that_are_not_one_plain_object_are_refused() {
    let claims = access_claims().to_string();
    let open = claims.strip_suffix('}').unwrap();
    let list: Vec<Value> = ["iss", "aud", "sub", "use", "iat", "nbf", "exp", "sid"]
        .map(|name| access_claims()[name].clone())
        .into();
    for payload in [
        format!(r#"{open},"aud":"{}"}}"#, uuid(1)),
        format!(r#"{open},"exp":{}}}"#, NOW + 9000),
        format!(r#"{open},"\u0061ud":"{}"}}"#, uuid(1)),
        format!("{claims}{{}}"),
        format!("{claims}\0"),
        claims.replace(&(NOW + 600).to_string(), "18446744073709551616"),
        claims.replace(&(NOW + 600).to_string(), "1e400"),
        Value::from(list).to_string(),
        "[".repeat(2000),
        "null".to_owned(),
        "{}".to_owned(),
        String::new(),
    ] {
        assert_eq!(access_fault(&forge(HEADER, &payload)), Some(TokenFault::Claims), "{payload}");
    }
    let not_utf8 = [claims.as_bytes(), b"\xff"].concat();
    assert_eq!(access_fault(&forge_as(Algorithm::HS256, HEADER, &not_utf8)), Some(TokenFault::Claims));
}

#[test]
fn claims_with_other_values_are_refused() {
    use TokenFault::{Audience, Expired, Issuer, Lifetime, NotYet, Use};
    for (name, value, fault) in [
        ("iss", json!("Portero"), Issuer),
        ("iss", json!("https://evil.example"), Issuer),
        ("aud", json!(uuid(2)), Audience),
        ("use", json!("handoff"), Use),
        ("nbf", json!(NOW + 16), NotYet),
        ("nbf", json!(u64::MAX), NotYet),
        ("iat", json!(NOW + 16), NotYet),
        ("exp", json!(NOW + 86_401), Lifetime),
        ("exp", json!(1_u64 << 63), Lifetime),
        ("exp", json!(u64::MAX), Lifetime),
        ("exp", json!(NOW - 1), Lifetime),
        ("exp", json!(0), Lifetime),
        ("iat", json!(0), Lifetime),
    ] {
        let claims = with(access_claims(), name, value);
        assert_eq!(access_fault(&forge(HEADER, &claims)), Some(fault), "{claims}");
    }
    let mut over = access_claims();
    over["iat"] = json!(NOW - 600);
    assert_eq!(access_fault(&forge(HEADER, &with(over, "exp", json!(NOW - 15)))), Some(Expired));
}

#[test]
fn damaged_tokens_are_refused() {
    use TokenFault::{Header, Signature, TooLong};
    let good = forge(HEADER, &access_claims().to_string());
    let [head, body, tail] = good.split('.').collect::<Vec<_>>()[..] else { panic!("{good}") };
    let zeros = "A".repeat(43);
    let last = tail.chars().last().unwrap();
    let unused_bits = char::from_u32(u32::from(last) + 1).unwrap();
    for (token, fault) in [
        (String::new(), Header),
        (".".to_owned(), Header),
        ("..".to_owned(), Header),
        ("x".repeat(4096), Header),
        (format!("{head}.{body}"), Header),
        (format!("{good}."), Header),
        (format!("{good}.{tail}"), Header),
        (format!(".{good}"), Header),
        (format!("Bearer {good}"), Header),
        (format!(" {good}"), Header),
        (format!("{head}=.{body}.{tail}"), Header),
        (format!("{head}.{body}."), Signature),
        (format!("{head}..{tail}"), Signature),
        (format!("{good}x"), Signature),
        (format!("{good}="), Signature),
        (format!("{good} "), Signature),
        (format!("{good}\n"), Signature),
        (format!("{head}.{body}.{}", &tail[..42]), Signature),
        (format!("{head}.{body}.{}{unused_bits}", &tail[..42]), Signature),
        (format!("{head}.{body}.{zeros}"), Signature),
        (format!("{head}.{body}=.{tail}"), Signature),
        (format!("{head}.{}.{tail}", body.replacen('J', "K", 1)), Signature),
        ("x".repeat(4097), TooLong),
        (format!("{good}{}", "x".repeat(1 << 20)), TooLong),
    ] {
        assert_eq!(access_fault(&token), Some(fault), "{token:.600}");
    }
}

#[test]
fn every_tenant_takes_its_own_tokens_only() {
    let tenants: Vec<TenantTokens> = (1..=6).map(tokens_of).collect();
    for issuer in &tenants {
        let access = issuer.issue_access(uuid(2).into(), uuid(3).into(), at(0), secs(600));
        let handoff = issuer.issue_handoff(uuid(2).into(), uuid(4), at(0));
        let csrf = issuer.csrf_token(uuid(3).into());
        for door in &tenants {
            let own = door.tenant() == issuer.tenant();
            let fault = (!own).then_some(TokenFault::OtherTenant(issuer.tenant()));
            assert_eq!(door.verify_access(&access, at(0)).err().map(TokenError::fault), fault);
            assert_eq!(door.verify_handoff(&handoff, at(0)).err().map(TokenError::fault), fault);
            assert_eq!(door.csrf_matches(uuid(3).into(), &csrf), own);
        }
    }
}

#[test]
fn another_master_key_is_another_signature() {
    let other = TenantTokens::new(&MasterKey::generate(), uuid(1).into());
    let token = other.issue_access(uuid(2).into(), uuid(3).into(), at(0), secs(600));
    assert_eq!(access_fault(&token), Some(TokenFault::Signature));
}

#[test]
fn a_csrf_token_belongs_to_one_session() {
    let tokens = tokens_of(1);
    let csrf = tokens.csrf_token(uuid(3).into());
    assert_eq!(csrf.len(), 43);
    assert!(tokens.csrf_matches(uuid(3).into(), &csrf));
    for (session, candidate) in
        [(4, csrf.as_str()), (3, ""), (3, &csrf[..42]), (3, &format!("{csrf}x")), (3, &"A".repeat(43))]
    {
        assert!(!tokens.csrf_matches(uuid(session).into(), candidate), "{session} {candidate}");
    }
}

#[test]
fn the_error_says_nothing_and_its_source_says_why() {
    let error = tokens_of(1).verify_access("", at(0)).unwrap_err();
    assert_eq!(error.to_string(), "the token is not valid here");
    assert_eq!(error.source().unwrap().to_string(), "its header is not the one issued here");
    assert_eq!(
        format!("{:?}", tokens_of(1)),
        "TenantTokens { tenant: TenantId(00000000-0000-0000-0000-000000000001), .. }"
    );
}

#[test]
fn a_sessions_secret_tells_who_issued_it_and_until_when() {
    let master = MasterKey::generate();
    let (acme, globex) = (TenantId::generate(), TenantId::generate());
    let (ours, theirs) = (TenantTokens::new(&master, acme), TenantTokens::new(&master, globex));
    let now = OffsetDateTime::now_utc();
    let secret = ours.issue_session(now, Duration::from_secs(60));
    assert!(ours.issued_session(&secret, now));
    assert!(!ours.issued_session(&secret, now + Duration::from_secs(61)));
    assert!(!theirs.issued_session(&secret, now));
    assert!(!ours.issued_session(&SessionSecret::generate(), now));
    assert_ne!(secret.digest(), ours.issue_session(now, Duration::from_secs(60)).digest());
    assert_ne!(ours.account("ana@acme.test"), theirs.account("ana@acme.test"));
}
