//! Tenants on a server of the test's choice: beside the registry's own server, others that may fall ill.

use crate::{Company, TestApp, TestCluster, join_all};
use portero_kernel::SecretString;
use std::net::SocketAddr;
use uuid::Uuid;

/// Sign-ups at the same time.
const LANES: usize = 4;

/// Whatever Portero's own placement would choose, these subdomains go where the test wants them.
const PLACEMENT: &str = "
    CREATE TABLE IF NOT EXISTS public.testkit_placement (subdomain text PRIMARY KEY, server_id uuid NOT NULL);
    CREATE OR REPLACE FUNCTION public.testkit_place() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        NEW.server_id := coalesce(
            (SELECT p.server_id FROM public.testkit_placement p WHERE p.subdomain = NEW.subdomain), NEW.server_id);
        RETURN NEW;
    END $$;
    CREATE OR REPLACE TRIGGER testkit_place BEFORE INSERT ON public.tenants
        FOR EACH ROW EXECUTE FUNCTION public.testkit_place()";

impl TestApp {
    /// Signs companies up on another server than the registry's own: on `cluster`, which Portero reaches at `address`, its
    /// own or that of a proxy before it. The server is noted under `name`.
    ///
    /// # Panics
    /// If a sign-up fails, or the application has not been started yet.
    pub async fn sign_up_on(
        &self,
        name: &str,
        cluster: &TestCluster,
        address: SocketAddr,
        subdomains: &[&str],
    ) -> Vec<Company> {
        let url = SecretString::from(cluster.url(address, "postgres"));
        let noted = self.registry().await.server_upsert(name, &url).await;
        let server = noted.expect("the registry takes a server").uuid();
        self.place(server, subdomains).await;
        self.sign_up_all(subdomains).await
    }

    /// Signs several companies up, a few at a time.
    ///
    /// # Panics
    /// If one fails.
    pub async fn sign_up_all(&self, subdomains: &[&str]) -> Vec<Company> {
        let mut companies = Vec::new();
        for some in subdomains.chunks(LANES) {
            companies.extend(join_all(some.iter().map(|subdomain| self.sign_up(subdomain))).await);
        }
        companies
    }

    async fn place(&self, server: Uuid, subdomains: &[&str]) {
        let session = self.peek().await;
        session.batch_execute(PLACEMENT).await.expect("a superuser may add a trigger");
        for subdomain in subdomains {
            session
                .execute("INSERT INTO public.testkit_placement VALUES ($1, $2)", &[subdomain, &server])
                .await
                .expect("each is placed once");
        }
        session.close().await;
    }
}
