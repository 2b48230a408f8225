//! Portero as a browser meets it: on `localhost` and its subdomains, at a port that links carry.

use portero_testkit::{AppBuilder, TestApp, free_address};

/// A running Portero whose links lead to itself.
pub(crate) struct Site {
    app: TestApp,
    port: u16,
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::start_with(TestApp::builder()).await
    }

    /// With these settings besides.
    pub(crate) async fn start_with(builder: AppBuilder) -> Self {
        let address = free_address();
        let app = builder
            .env("PORTERO_BASE_DOMAIN", "localhost")
            .env("PORTERO_LISTEN", &address.to_string())
            .env("PORTERO_PUBLIC_PORT", &address.port().to_string())
            .start()
            .await;
        Self { app, port: address.port() }
    }

    pub(crate) fn app(&self) -> &TestApp {
        &self.app
    }

    pub(crate) fn apex(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    pub(crate) fn tenant(&self, subdomain: &str) -> String {
        format!("http://{subdomain}.localhost:{}", self.port)
    }

    /// Signs a company up by the command line; returns its admin's address and password.
    pub(crate) async fn sign_up(&self, subdomain: &str) -> (String, String) {
        let (email, password) = (format!("admin@{subdomain}.test"), portero_testkit::new_password());
        let args =
            ["tenant", "create", "--name", subdomain, "--subdomain", subdomain, "--admin-email", &email];
        let args = [&args[..], &["--admin-password-stdin"]].concat();
        let _ = self.app.portero(&args).stdin(&password).run().await.expect(0);
        (email, password)
    }
}
