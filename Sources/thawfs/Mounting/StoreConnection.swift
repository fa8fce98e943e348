import HTTP
import Logging
import ObjectStore
import ThawCore
import Wire

/// How the store of a source is asked: endpoint, credentials and HTTP, for its bucket and for others beside it.
struct StoreConnection {
    let source: Source
    /// Of the source's bucket, or of the account.
    let store: RetryingStore
    let credentials: any CredentialsProvider
    private let configuration: StoreConfiguration
    private let http: HTTPClient
    private let log: Logger

    init(
        _ source: Source, _ configuration: StoreConfiguration, _ options: MountOptions,
        _ environment: [String: String], _ http: HTTPClient, _ log: Logger
    ) {
        self.source = source
        self.configuration = configuration
        self.http = http
        self.log = log
        if configuration.endpoint.scheme == .http, !configuration.endpoint.isNumericOrLocal {
            log.warning("endpoint \(configuration.endpoint.authority) is asked over http: anybody on the way can read what is read")
        }
        credentials = CredentialsChain.standard(
            source.dialect, profile: options.text(.profile), environment: environment, transport: http)
        let store: any ObjectStore =
            source.bucket == nil
            ? AccountStore(configuration, credentials: credentials, transport: http, logger: log)
            : BucketStore(configuration, credentials: credentials, transport: http, logger: log)
        self.store = RetryingStore(store, logger: log)
    }

    /// Another bucket of the same account and region; nil: the source's own.
    func store(of bucket: String?) throws(StoreError) -> RetryingStore {
        guard let bucket, bucket != source.bucket else { return store }
        let other = try configuration.of(bucket, region: nil)
        return RetryingStore(BucketStore(other, credentials: credentials, transport: http, logger: log), logger: log)
    }
}
