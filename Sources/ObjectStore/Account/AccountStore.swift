package import Logging
import Synchronization
package import ThawCore
package import Wire

/// All buckets of an account as one store: keys are `bucket/key`, and a bucket is the prefix `bucket/`.
///
/// A bucket's directory marker is the bucket itself: putting `bucket/` creates it, deleting `bucket/` deletes it, and
/// nobody can ask for it. There are no objects beside buckets. A bucket's requests go to its own region, as far as the
/// listing of buckets tells it.
package final class AccountStore: ObjectStore {
    package var dialect: Dialect { configuration.dialect }
    package var hasFixedTopLevel: Bool { true }

    private let configuration: StoreConfiguration
    private let makeStore: @Sendable (StoreConfiguration) -> BucketStore
    /// Of requests that are about no bucket.
    let account: BucketStore
    private let known = Mutex(Known())

    private struct Known {
        var stores: [String: BucketStore] = [:]
        /// Buckets that a listing named, and where it says they are.
        var regions: [String: String?] = [:]
        /// Buckets that may have been created here although the store's reply was lost.
        var doubtful: Set<String> = []
    }

    /// - Parameter configuration: without a bucket
    package init(
        _ configuration: StoreConfiguration,
        credentials: any CredentialsProvider,
        transport: any Transport,
        logger: Logger,
        clock: @escaping @Sendable () -> Timestamp = { Timestamp.now() }
    ) {
        self.configuration = configuration
        makeStore = {
            BucketStore($0, credentials: credentials, transport: transport, logger: logger, clock: clock)
        }
        account = makeStore(configuration)
    }

    // MARK: - Buckets

    /// All of them whose names begin so, in the order of their keys.
    func buckets(_ prefix: [UInt8]) async throws(StoreError) -> [ListedBucket] {
        var buckets: [ListedBucket] = []
        var marker: String?
        repeat {
            let page = try await account.listBuckets(prefix: prefix, after: marker)
            if let next = page.next, next == marker {
                throw .nonsense("the listing of buckets loops: the same marker came twice")
            }
            // A store may not know the prefix.
            buckets += page.buckets.filter { $0.name.utf8.starts(with: prefix) }
            marker = page.next
        } while marker != nil
        known.withLock { known in
            for bucket in buckets { known.regions[bucket.name] = .some(bucket.region) }
        }
        // `a-b/` is before `a/`.
        return buckets.sorted { ObjectKey($0.name + "/") < ObjectKey($1.name + "/") }
    }

    /// `noSuchBucket` for a name that no bucket can have.
    func store(_ bucket: String) async throws(StoreError) -> BucketStore {
        if let store = known.withLock({ $0.stores[bucket] }) { return store }
        let store = makeStore(try configuration.of(bucket, region: try await region(of: bucket)))
        return known.withLock { known in
            if let other = known.stores[bucket] { return other }
            known.stores[bucket] = store
            return store
        }
    }

    /// OSS and IBM COS refuse what goes to the wrong region, and do not say in general where to go; S3 does.
    private func region(of bucket: String) async throws(StoreError) -> String? {
        if let region = known.withLock({ $0.regions[bucket] }) { return region }
        guard dialect != .s3, configuration.followsRegions else { return nil }
        do throws(StoreError) {
            return try await buckets(Array(bucket.utf8)).first { $0.name == bucket }?.region
        } catch {
            // Not ours to list: the bucket may be where the account's endpoint is.
            guard error.kind == .denied else { throw error }
            return nil
        }
    }

    func create(_ bucket: String, _ draft: BucketDraft, condition: WriteCondition) async throws(StoreError) {
        let isKnown = known.withLock { $0.regions[bucket] != nil }
        // Its marker is put again by whoever wants the directory to stay.
        if isKnown, condition == .always { return }
        do throws(StoreError) {
            try await makeStore(try configuration.of(bucket, region: nil)).createBucket(draft)
        } catch {
            let isOurs = known.withLock { known in
                if error.mayFollowSuccess { known.doubtful.insert(bucket) }
                return condition == .always || known.doubtful.contains(bucket)
            }
            guard error.code == "BucketAlreadyOwnedByYou", isOurs else { throw error }
        }
        known.withLock { known in
            known.doubtful.remove(bucket)
            known.regions[bucket] = .some(nil)
            known.stores[bucket] = nil
        }
    }

    func remove(_ bucket: String) async throws(StoreError) {
        do throws(StoreError) {
            try await store(bucket).deleteBucket()
        } catch {
            guard error.kind == .noSuchBucket else { throw error }
        }
        known.withLock { known in
            known.regions[bucket] = nil
            known.stores[bucket] = nil
        }
    }
}

/// Where a key of an account leads.
enum AccountPlace {
    /// No slash: the beginning of buckets' names, or an object where there are none.
    case root([UInt8])
    case bucket(String, ObjectKey)

    init(_ key: ObjectKey) {
        guard let slash = key.bytes.firstIndex(of: UInt8(ascii: "/")) else {
            self = .root(key.bytes)
            return
        }
        self = .bucket(String(decoding: key.bytes[..<slash], as: UTF8.self), ObjectKey(key.bytes[(slash + 1)...]))
    }
}
