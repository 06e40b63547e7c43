//! Price files.

use reqwest::Method;
use slipway_domain::id::PriceFileId;
use slipway_domain::page::Page;
use slipway_domain::price::PriceFile;
use slipway_services::price::{ImportPrices, ImportedPrices};

use super::transport::Call;
use super::{Client, ClientError, UPLOAD_DEADLINE};

impl Client {
    /// `GET /prices`.
    pub async fn price_files(&self) -> Result<Vec<PriceFile>, ClientError> {
        Ok(self.get(&["prices"], &[]).await?.json::<Page<PriceFile>>().await?.items)
    }

    /// `POST /prices`.
    pub async fn import_prices(
        &self,
        given: ImportPrices,
        idempotency_key: &str,
    ) -> Result<ImportedPrices, ClientError> {
        let mut query =
            vec![("format", given.format.as_str().to_owned()), ("source", given.source)];
        query.extend(given.as_of.map(|day| ("as_of", day.to_string())));
        let call = Call::new(Method::POST, &["prices"])
            .query(&query)
            .bytes("application/octet-stream", given.content)
            .deadline(UPLOAD_DEADLINE)
            .idempotent(idempotency_key);
        self.send(call).await?.json().await
    }

    /// `DELETE /prices/{id}`.
    pub async fn remove_prices(&self, id: PriceFileId) -> Result<(), ClientError> {
        self.send(Call::new(Method::DELETE, &["prices", &id.to_string()])).await?;
        Ok(())
    }
}
