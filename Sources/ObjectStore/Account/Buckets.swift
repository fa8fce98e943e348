import HTTP
package import Logging
package import ThawCore
package import Wire

/// The buckets of an account as things of their own: what `thawfs bucket` does. Retries what may be retried.
package struct Buckets: Sendable {
    package var dialect: Dialect { account.dialect }

    private let account: AccountStore
    private let store: RetryingStore

    /// - Parameter configuration: without a bucket
    package init(
        _ configuration: StoreConfiguration, credentials: any CredentialsProvider, transport: any Transport,
        logger: Logger
    ) {
        account = AccountStore(configuration, credentials: credentials, transport: transport, logger: logger)
        store = RetryingStore(account, logger: logger)
    }

    /// In the order of their names.
    package func all() async throws(StoreError) -> [ListedBucket] {
        let found = try await store.retrying("listBuckets", .empty) { () async throws(StoreError) in
            try await account.buckets([])
        }
        return found.sorted { ObjectKey($0.name) < ObjectKey($1.name) }
    }

    package func create(_ bucket: String, _ draft: BucketDraft) async throws(StoreError) {
        if draft.storageClass != nil, !dialect.classesBuckets {
            throw .unsupported("buckets have no storage class at \(dialect.provider): objects do")
        }
        try await store.retrying("createBucket", place(bucket)) { () async throws(StoreError) in
            try await account.create(bucket, draft, condition: .isAbsent)
        }
    }

    /// `notEmpty` while it has objects, versions or parts.
    package func delete(_ bucket: String) async throws(StoreError) {
        var mayBeDeleted = false
        try await store.retrying("deleteBucket", place(bucket)) { () async throws(StoreError) in
            do throws(StoreError) {
                try await account.store(bucket).deleteBucket()
            } catch {
                if mayBeDeleted, error.kind == .noSuchBucket { return }
                mayBeDeleted = mayBeDeleted || error.mayFollowSuccess
                throw error
            }
        }
    }

    package func describe(_ bucket: String) async throws(StoreError) -> BucketDescription {
        try await store.retrying("describeBucket", place(bucket)) { () async throws(StoreError) in
            try await account.store(bucket).describeBucket()
        }
    }

    // MARK: - Configurations

    package func configuration(
        _ configuration: BucketConfiguration, of bucket: String
    ) async throws(StoreError) -> [UInt8] {
        try await store.configuration(configuration, of: place(bucket))
    }

    @discardableResult
    package func setConfiguration(
        _ configuration: BucketConfiguration, _ body: [UInt8], of bucket: String
    ) async throws(StoreError) -> [UInt8] {
        try await store.setConfiguration(configuration, body, of: place(bucket))
    }

    package func deleteConfiguration(
        _ configuration: BucketConfiguration, of bucket: String
    ) async throws(StoreError) {
        try await store.deleteConfiguration(configuration, of: place(bucket))
    }

    // MARK: - Uploads

    /// Multipart uploads that were begun and neither completed nor aborted, in key order.
    package func uploads(of bucket: String, prefix: ObjectKey) async throws(StoreError) -> [IncompleteUpload] {
        var uploads: [IncompleteUpload] = []
        var marker: UploadMarker?
        repeat {
            let page = try await store.retrying("listUploads", place(bucket)) { () async throws(StoreError) in
                try await account.store(bucket).listUploads(prefix: prefix, after: marker)
            }
            if let next = page.next, next == marker {
                throw .nonsense("the listing of uploads loops: the same marker came twice")
            }
            uploads += page.uploads
            marker = page.next
        } while marker != nil
        return uploads
    }

    /// One that is not there is as good as aborted.
    package func abort(_ key: ObjectKey, upload id: String, of bucket: String) async throws(StoreError) {
        try await store.abortUpload(MultipartUpload(key: place(bucket) + key.bytes, id: id))
    }

    private func place(_ bucket: String) -> ObjectKey { ObjectKey(bucket + "/") }
}

/// What a store tells of one bucket. Nil is what it does not.
package struct BucketDescription: Sendable, Equatable {
    package var location: String?
    package var storageClass: String?
    package var created: Timestamp?
    /// `Enabled` or `Suspended`.
    package var versioning: String?
    /// Of a bucket of IBM COS that a key of Key Protect encrypts.
    package var rootKey: String?
}

/// A multipart upload that was begun and neither completed nor aborted.
package struct IncompleteUpload: Sendable, Equatable {
    package let key: ObjectKey
    package let id: String
    package let initiated: Timestamp?
    package let storageClass: String?
}

extension BucketStore {
    func describeBucket() async throws(StoreError) -> BucketDescription {
        var description = BucketDescription()
        if dialect == .oss {
            let bucket = try await document("bucketInfo")["Bucket"]
            func text(_ name: String) -> String? { bucket?[name]?.text }
            description.location = text("Location")
            description.storageClass = text("StorageClass")
            description.created = text("CreationDate").flatMap { WireDate.parseISO8601($0) }
            description.versioning = text("Versioning")
        } else {
            // The region that has no name here. Unlike a HEAD, a refusal says why.
            let location = try await document("location").text
            description.location = location.isEmpty ? "us-east-1" : location
            if dialect == .cos { description.storageClass = BucketLocation(location)?.storageClass }
            description.versioning = try await document("versioning")["Status"]?.text
            let head = try await exchange.send(StoreRequest(method: .head), expecting: [200]).head
            description.rootKey = head["ibm-sse-kp-crk-id"]
        }
        return description
    }

    private func document(_ subresource: String) async throws(StoreError) -> XMLElement {
        let response = try await exchange.send(
            StoreRequest(method: .get, query: [QueryItem(subresource)]), expecting: [200])
        do throws(XMLError) {
            return try XMLElement(document: response.body)
        } catch {
            throw nonsense(response, error.description)
        }
    }

    func listUploads(prefix: ObjectKey, after marker: UploadMarker?) async throws(StoreError) -> UploadListReply {
        var query = [QueryItem("uploads"), QueryItem("encoding-type", "url"), QueryItem("max-uploads", "1000")]
        if !prefix.isEmpty { query.append(QueryItem("prefix", bytes: prefix.bytes)) }
        if let marker {
            query.append(QueryItem("key-marker", bytes: marker.key.bytes))
            query.append(QueryItem("upload-id-marker", marker.id))
        }
        let response = try await exchange.send(StoreRequest(method: .get, query: query), expecting: [200])
        do throws(ListProblem) {
            return try UploadListReply(response.body, spoken)
        } catch {
            throw nonsense(response, error.reason)
        }
    }
}

extension Dialect {
    /// Whether a bucket has a storage class, for objects that name none.
    fileprivate var classesBuckets: Bool {
        switch self {
        case .oss, .cos: true
        case .s3, .oas: false
        }
    }
}
