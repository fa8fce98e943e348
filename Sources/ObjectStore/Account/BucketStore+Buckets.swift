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
    /// Of objects that name none (OSS), or of all (IBM COS, with or without the place: `vault`, `us-south-vault`).
    package var storageClass: String?
    /// The CRN of the key that IBM's Key Protect is to encrypt it with.
    package var rootKey: String?
    /// Whether objects can be locked. It cannot be switched on later.
    package var locksObjects = false

    package init(storageClass: String? = nil, rootKey: String? = nil, locksObjects: Bool = false) {
        self.storageClass = storageClass
        self.rootKey = rootKey
        self.locksObjects = locksObjects
    }
}

/// Operations on the account and on the bucket itself.
extension BucketStore {
    /// One page of the account's buckets. The configuration must be without a bucket.
    func listBuckets(prefix: [UInt8], after marker: String?) async throws(StoreError) -> BucketPage {
        let names =
            dialect == .s3 ? (max: "max-buckets", marker: "continuation-token") : (max: "max-keys", marker: "marker")
        var query = [QueryItem(names.max, "1000")]
        // IBM COS tells where a bucket is only to those who ask for the longer list.
        if dialect == .cos { query.append(QueryItem("extended")) }
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
        var headers: [(name: String, value: String)] = []
        if draft.locksObjects {
            guard BucketConfiguration.Kind.objectLock.offer(in: dialect) != nil else {
                throw .unsupported("object lock is not offered by \(dialect.provider)")
            }
            headers.append(("x-amz-bucket-object-lock-enabled", "true"))
        }
        if let key = draft.rootKey {
            guard dialect == .cos else { throw .unsupported("Key Protect is not offered by \(dialect.provider)") }
            headers.append(("ibm-sse-kp-encryption-algorithm", "AES256"))
            headers.append(("ibm-sse-kp-customer-root-key-crn", key))
        }
        var body = RequestBody.none
        if let (name, value) = try placement(draft) {
            var document = XMLWriter(declaration: false)
            document.element("CreateBucketConfiguration", namespace: spoken.documentNamespace) { document in
                document.element(name, value)
            }
            body = .document(document.bytes)
        }
        _ = try await exchange.send(StoreRequest(method: .put, headers: headers, body: body), expecting: [200])
    }

    /// What the request says of where and in which class; nil where that goes without saying: the region that has no
    /// name here, the provider's default class, and IBM's endpoints, which are in the region that is meant.
    private func placement(_ draft: BucketDraft) throws(StoreError) -> (name: StaticString, value: String)? {
        switch dialect {
        case .oss: return draft.storageClass.map { ("StorageClass", $0) }
        case .s3: return configuration.region == "us-east-1" ? nil : ("LocationConstraint", configuration.region)
        case .cos:
            guard let word = draft.storageClass else { return nil }
            let location = BucketLocation(word)
                ?? BucketLocation(place: configuration.region, storageClass: word.lowercased())
            guard let location else {
                throw .invalid(
                    configuration.region.isEmpty
                        ? "a bucket of a class needs a region, such as us-south"
                        : "“\(word)” is no class of buckets; there are: \(BucketLocation.classes.joined(separator: ", "))")
            }
            return ("LocationConstraint", location.constraint)
        case .oas: return nil
        }
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
            } else if xml.isNamed("LocationConstraint") {
                let constraint = try xml.string()
                let location = BucketLocation(constraint)
                (region, storageClass) = (location?.place ?? constraint, location?.storageClass)
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
