import HTTP
import Logging
import ObjectStore
import ThawCore
import Vaults
import Wire

/// How the store of a source is asked: endpoint, credentials and HTTP, for its bucket and for others beside it.
struct StoreConnection {
    let source: Source
    /// Of the source's bucket, or of the account.
    let store: RetryingStore
    let credentials: any CredentialsProvider
    /// What all requests but those for credentials go through.
    let transport: MeteredTransport
    private let configuration: StoreConfiguration
    private let log: Logger

    /// What tells the archives of vaults.
    struct CataloguePlace {
        var directory: String
        /// Called when the store found out by itself that it has other names.
        var changed: @Sendable () async -> Void
    }

    /// - Parameter catalogue: needed for vaults
    init(
        _ source: Source, _ configuration: StoreConfiguration, _ options: MountOptions,
        _ environment: [String: String], _ http: HTTPClient, _ log: Logger, catalogue: CataloguePlace? = nil
    ) throws {
        self.source = source
        self.configuration = configuration
        transport = MeteredTransport(http)
        self.log = log
        if let warning = configuration.warning { log.warning("\(warning)") }
        credentials = CredentialsChain.standard(
            source.dialect, profile: options.text(.profile), environment: environment, transport: http)
        let store: any ObjectStore
        if source.dialect == .oas {
            guard let catalogue else { throw UsageError("source “\(source.text)”: a vault has no objects of its own") }
            let client = VaultClient(configuration.endpoint, credentials: credentials, transport: transport)
            store = try Self.vaults(source, catalogue, client, log)
        } else if source.bucket == nil {
            store = AccountStore(configuration, credentials: credentials, transport: transport, logger: log)
        } else {
            store = BucketStore(configuration, credentials: credentials, transport: transport, logger: log)
        }
        self.store = RetryingStore(store, logger: log)
    }

    private static func vaults(
        _ source: Source, _ place: CataloguePlace, _ client: VaultClient, _ log: Logger
    ) throws -> any ObjectStore {
        let catalogue = try Catalogue(
            path: Catalogue.path(in: place.directory), executor: ThreadExecutor(name: "catalogue"), log: log)
        guard let vault = source.bucket else {
            return VaultAccountStore(client: client, catalogue: catalogue, log: log, changed: place.changed)
        }
        return VaultStore(vault, client: client, catalogue: catalogue, log: log, changed: place.changed)
    }

    /// Another bucket of the same account and region; nil: the source's own.
    func store(of bucket: String?) throws(StoreError) -> RetryingStore {
        guard let bucket, bucket != source.bucket else { return store }
        let other = try configuration.of(bucket, region: nil)
        let bucketStore = BucketStore(other, credentials: credentials, transport: transport, logger: log)
        return RetryingStore(bucketStore, logger: log)
    }
}
