//! An operator of a test's own: their requests, and their login in a browser.

use crate::{Chrome, Request, TestApp};
use portero_auth::OperatorToken;
use portero_kernel::{ExposeSecret, OperatorId};

impl TestApp {
    /// A request to the operators' listener, by an operator of this test's.
    ///
    /// # Panics
    /// Without the registry, the first time.
    pub async fn operator(&self, method: &str, path: &str) -> Request {
        let token = self.operator_token().await;
        self.operators.request(method, "localhost", path).bearer(token)
    }

    /// The token of an operator of this test's.
    ///
    /// # Panics
    /// Without the registry, the first time.
    pub async fn operator_token(&self) -> &str {
        let add = async || {
            let token = OperatorToken::generate();
            let added = self
                .registry()
                .await
                .operator_insert(OperatorId::generate(), "tester", &token.digest())
                .await;
            added.expect("the registry is there");
            token.to_text().expose_secret().to_owned()
        };
        self.operator_token.get_or_init(add).await
    }

    /// Logs this test's operator in to the console, in a browser.
    ///
    /// # Panics
    /// If that fails.
    pub async fn log_in_operator(&self, chrome: &Chrome) {
        chrome.open(&format!("{}/console/login", self.operators_url())).await;
        chrome.fill("#token", self.operator_token().await).await;
        chrome.click("button[type=submit]").await;
        chrome.find("nav.sections").await;
    }
}
