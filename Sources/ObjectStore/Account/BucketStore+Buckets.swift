import HTTP
package import ThawCore
import Wire

/// What a listing of buckets says of one. Nil is what the store does not tell.
package struct ListedBucket: Sendable, Equatable {
    package var name: String
    /// Bare.
    package var region: String?
    package var created: Timestamp?
    package var storageClass: String?

    init(name: String, region: String? = nil, created: Timestamp? = nil, storageClass: String? = nil) {
        self.name = name
        self.region = region
        self.created = created
        self.storageClass = storageClass
    }
}

struct BucketPage: Sendable {
    var buckets: [ListedBucket] = []
    /// What the next page begins after; nil when this one is the last.
    var next: String?
}

/// How a bucket is to be created.
package struct BucketDraft: Sendable, Equatable {
    /// Of objects that name none; only OSS's buckets have one.
    package var storageClass: String?
    /// Whether objects can be locked. It cannot be switched on later.
    package var locksObjects = false

    package init(storageClass: String? = nil, locksObjects: Bool = false) {
        self.storageClass = storageClass
        self.locksObjects = locksObjects
    }
}

/// Operations on the account and on the bucket itself.
extension BucketStore {
    /// One page of the account's buckets. The configuration must be without a bucket.
    func listBuckets(prefix: [UInt8], after marker: String?) async throws(StoreError) -> BucketPage {
        let names = dialect == .oss ? (max: "max-keys", marker: "marker") : (max: "max-buckets", marker: "continuation-token")
        var query = [QueryItem(names.max, "1000")]
        if !prefix.isEmpty { query.append(QueryItem("prefix", bytes: prefix)) }
        if let marker { query.append(QueryItem(names.marker, marker)) }
        let response = try await exchange.send(StoreRequest(method: .get, query: query), expecting: [200])
        do throws(XMLError) {
            return try BucketPage(response.body)
        } catch {
            throw nonsense(response, error.description)
        }
    }

    /// Creates this bucket in the configuration's region. `preconditionFailed` if there is one of this name.
    func createBucket(_ draft: BucketDraft) async throws(StoreError) {
        var document = XMLWriter(declaration: false)
        var headers: [(name: String, value: String)] = []
        if draft.locksObjects {
            guard BucketConfiguration.Kind.objectLock.offer(in: dialect) != nil else {
                throw .unsupported("object lock is not offered by \(dialect.provider)")
            }
            headers.append(("x-amz-bucket-object-lock-enabled", "true"))
        }
        document.element("CreateBucketConfiguration", namespace: spoken.documentNamespace) { document in
            switch dialect {
            case .oss: if let storageClass = draft.storageClass { document.element("StorageClass", storageClass) }
            case .s3: document.element("LocationConstraint", configuration.region)
            }
        }
        // The region that has no name here, and the class that goes without saying.
        let isPlain = dialect == .oss ? draft.storageClass == nil : configuration.region == "us-east-1"
        _ = try await exchange.send(
            StoreRequest(method: .put, headers: headers, body: isPlain ? .none : .document(document.bytes)),
            expecting: [200])
    }

    /// Deletes this bucket; `notEmpty` while it has objects, versions or parts.
    func deleteBucket() async throws(StoreError) {
        _ = try await exchange.send(StoreRequest(method: .delete), expecting: [200, 204])
    }
}

extension BucketPage {
    /// Reads `<ListAllMyBucketsResult>`.
    init(_ body: [UInt8]) throws(XMLError) {
        var xml = try XMLReader(body)
        guard xml.isNamed("ListAllMyBucketsResult") else {
            throw XMLError(reason: "<\(xml.localName)> where a list of buckets was expected", offset: 0)
        }
        while try xml.nextChild() {
            if xml.isNamed("Buckets") {
                while try xml.nextChild() { buckets.append(try ListedBucket(&xml)) }
            } else if xml.isNamed("NextMarker") || xml.isNamed("ContinuationToken") {
                let marker = try xml.string()
                next = marker.isEmpty ? nil : marker
            } else {
                try xml.skip()
            }
        }
        try xml.finish()
    }
}

extension ListedBucket {
    fileprivate init(_ xml: inout XMLReader) throws(XMLError) {
        self.init(name: "")
        while try xml.nextChild() {
            if xml.isNamed("Name") {
                name = try xml.string()
            } else if xml.isNamed("Location") || xml.isNamed("BucketRegion") {
                region = StoreConfiguration.bareRegion(try xml.string())
            } else if xml.isNamed("CreationDate") {
                created = WireDate.parseISO8601(try xml.string())
            } else if xml.isNamed("StorageClass") {
                storageClass = try xml.string()
            } else {
                try xml.skip()
            }
        }
    }
}
