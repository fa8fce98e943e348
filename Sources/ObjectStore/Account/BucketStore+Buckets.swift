import HTTP
import ThawCore
import Wire

/// What a listing of buckets says of one.
struct ListedBucket: Sendable, Equatable {
    var name: String
    /// Bare; nil where the store does not tell.
    var region: String?
}

struct BucketPage: Sendable {
    var buckets: [ListedBucket] = []
    /// What the next page begins after; nil when this one is the last.
    var next: String?
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
    ///
    /// - Parameter storageClass: of objects that name none; only OSS's buckets have one
    func createBucket(_ storageClass: StorageClass?) async throws(StoreError) {
        var document = XMLWriter(declaration: false)
        document.element("CreateBucketConfiguration", namespace: spoken.documentNamespace) { document in
            switch dialect {
            case .oss: if let storageClass { document.element("StorageClass", storageClass.name) }
            case .s3: document.element("LocationConstraint", configuration.region)
            case .cos: break
            }
        }
        // The region that has no name here, the class that goes without saying, and IBM's endpoints, which are in the
        // region that is meant.
        let isPlain =
            switch dialect {
            case .oss: storageClass == nil
            case .s3: configuration.region == "us-east-1"
            case .cos: true
            }
        _ = try await exchange.send(
            StoreRequest(method: .put, body: isPlain ? .none : .document(document.bytes)), expecting: [200])
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
        name = ""
        while try xml.nextChild() {
            if xml.isNamed("Name") {
                name = try xml.string()
            } else if xml.isNamed("Location") || xml.isNamed("BucketRegion") {
                region = StoreConfiguration.bareRegion(try xml.string())
            } else if xml.isNamed("LocationConstraint") {
                region = StoreConfiguration.location(try xml.string())
            } else {
                try xml.skip()
            }
        }
    }
}
