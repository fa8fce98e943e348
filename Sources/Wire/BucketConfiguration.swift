import ThawCore

/// A configuration that a bucket can have, or one of several of a kind: what `user.thaw.bucket.NAME` and
/// `thawfs bucket config` call `lifecycle`, `inventory` or `inventory.weekly`.
package struct BucketConfiguration: Hashable, Sendable {
    package enum Kind: String, CaseIterable, Sendable {
        case lifecycle, cors
        case objectLock = "object-lock"
        case protection, website, publicAccessBlock, inventory, location, uploads, versioning
        case archiveDirectRead = "archive-direct-read"
        case backupPolicies = "backup-policies"
    }

    package let kind: Kind
    /// Which one, of a kind that a bucket can have several of; nil for all of them.
    package let id: String?

    package init(_ kind: Kind, id: String? = nil) {
        self.kind = kind
        self.id = id
    }

    /// Nil for a name that no provider has.
    package init?(name: String) {
        if let kind = Kind(rawValue: name) {
            self.init(kind)
        } else if let kind = Kind.allCases.first(where: { $0.hasIDs && name.hasPrefix($0.rawValue + ".") }),
            name.utf8.count > kind.rawValue.utf8.count + 1
        {
            self.init(kind, id: String(name.dropFirst(kind.rawValue.count + 1)))
        } else {
            return nil
        }
    }

    package var name: String { kind.rawValue + (id.map { "." + $0 } ?? "") }
}

extension BucketConfiguration {
    package enum Action: Sendable { case get, put, delete }

    /// How a provider has one kind of configuration.
    package struct Offer: Sendable {
        /// The query parameter that addresses it; of backup policies, the last segment of the path.
        package let subresource: String
        package let actions: Set<Action>
        /// The code of the error for a bucket that has none.
        package let missingCode: String
        /// Whether the provider refuses a body without a digest. One is always sent.
        package let requiresDigest: Bool
        /// What a put is answered with.
        package let putStatus: Int
        /// The query parameter that says which one.
        package let idParameter: String?

        init(
            _ subresource: String, _ actions: Set<Action>, missing: String = "NoSuchConfiguration",
            requiresDigest: Bool = false, putStatus: Int = 200, id: String? = nil
        ) {
            self.subresource = subresource
            self.actions = actions
            missingCode = missing
            self.requiresDigest = requiresDigest
            self.putStatus = putStatus
            idParameter = id
        }
    }
}

extension BucketConfiguration.Kind {
    /// Whether a bucket can have several, each with an id of its own.
    package var hasIDs: Bool { self == .inventory || self == .backupPolicies }
    package var isJSON: Bool { self == .backupPolicies }

    /// Of a document that the provider tells page by page: the element of which there are many.
    package var entry: String? {
        switch self {
        case .inventory: "InventoryConfiguration"
        case .uploads: "Upload"
        default: nil
        }
    }

    /// The root element of its document.
    package var root: String {
        switch self {
        case .lifecycle: "LifecycleConfiguration"
        case .cors: "CORSConfiguration"
        case .objectLock: "ObjectLockConfiguration"
        case .protection: "ProtectionConfiguration"
        case .website: "WebsiteConfiguration"
        case .publicAccessBlock: "PublicAccessBlockConfiguration"
        case .inventory: "InventoryConfiguration"
        case .location: "LocationConstraint"
        case .uploads: "ListMultipartUploadsResult"
        case .versioning: "VersioningConfiguration"
        case .archiveDirectRead: "ArchiveDirectReadConfiguration"
        case .backupPolicies: ""
        }
    }

    /// Nil where the provider has no such thing.
    ///
    /// Sources: IBM COS, "Bucket operations"; S3 API Reference; Alibaba Cloud OSS, "Operations on buckets", and the
    /// parameters that its SDKs send.
    package func offer(in dialect: Dialect) -> BucketConfiguration.Offer? {
        guard let row = Self.table[self] else { return nil }
        return switch dialect {
        case .oss: row.oss
        case .s3: row.s3
        case .cos: row.cos
        case .oas: nil
        }
    }

    private struct Row: Sendable {
        typealias Offer = BucketConfiguration.Offer
        var oss: Offer?
        var s3: Offer?
        var cos: Offer?
    }

    /// IBM documents a website's PUT and DELETE only. That its GET is S3's is assumed: the store's refusal would show.
    private static let cosWebsiteActions: Set<BucketConfiguration.Action> = [.get, .put, .delete]

    private static let table: [BucketConfiguration.Kind: Row] = [
        .lifecycle: Row(
            oss: .init("lifecycle", [.get, .put, .delete], missing: "NoSuchLifecycle"),
            s3: .init(
                "lifecycle", [.get, .put, .delete], missing: "NoSuchLifecycleConfiguration", requiresDigest: true),
            cos: .init(
                "lifecycle", [.get, .put, .delete], missing: "NoSuchLifecycleConfiguration", requiresDigest: true)),
        .cors: Row(
            oss: .init("cors", [.get, .put, .delete], missing: "NoSuchCORSConfiguration"),
            s3: .init("cors", [.get, .put, .delete], missing: "NoSuchCORSConfiguration", requiresDigest: true),
            cos: .init("cors", [.get, .put, .delete], missing: "NoSuchCORSConfiguration", requiresDigest: true)),
        .objectLock: Row(
            s3: .init(
                "object-lock", [.get, .put], missing: "ObjectLockConfigurationNotFoundError", requiresDigest: true),
            cos: .init(
                "object-lock", [.get, .put], missing: "ObjectLockConfigurationNotFoundError", requiresDigest: true)),
        // Never taken back; a bucket without it says so in a document.
        .protection: Row(cos: .init("protection", [.get, .put], requiresDigest: true)),
        .website: Row(
            oss: .init("website", [.get, .put, .delete], missing: "NoSuchWebsiteConfiguration"),
            s3: .init("website", [.get, .put, .delete], missing: "NoSuchWebsiteConfiguration", requiresDigest: true),
            cos: .init("website", cosWebsiteActions, missing: "NoSuchWebsiteConfiguration")),
        .publicAccessBlock: Row(
            oss: .init("publicAccessBlock", [.get, .put, .delete], missing: "NoSuchPublicAccessBlockConfiguration"),
            s3: .init(
                "publicAccessBlock", [.get, .put, .delete], missing: "NoSuchPublicAccessBlockConfiguration",
                requiresDigest: true),
            cos: .init("publicAccessBlock", [.get, .put, .delete], missing: "NoSuchPublicAccessBlockConfiguration")),
        .inventory: Row(
            oss: .init("inventory", [.get, .put, .delete], missing: "NoSuchInventory", id: "inventoryId"),
            s3: .init("inventory", [.get, .put, .delete], id: "id"),
            cos: .init("inventory", [.get, .put, .delete], putStatus: 204, id: "id")),
        .location: Row(oss: .init("location", [.get]), s3: .init("location", [.get]), cos: .init("location", [.get])),
        .uploads: Row(oss: .init("uploads", [.get]), s3: .init("uploads", [.get]), cos: .init("uploads", [.get])),
        .versioning: Row(
            oss: .init("versioning", [.get, .put]), s3: .init("versioning", [.get, .put], requiresDigest: true),
            cos: .init("versioning", [.get, .put], requiresDigest: true)),
        .archiveDirectRead: Row(oss: .init("bucketArchiveDirectRead", [.get, .put])),
        // Created with 201 according to the practice of its host; the seed shows no status.
        .backupPolicies: Row(cos: .init("backup_policies", [.get, .put, .delete], putStatus: 201)),
    ]
}

extension BucketConfiguration {
    /// Whether a document is what a provider answers where nothing was configured.
    package static func saysNothing(_ body: [UInt8], _ kind: Kind) -> Bool {
        if kind.isJSON { return JSON(body)?.array?.isEmpty ?? false }
        guard let root = try? XMLElement(document: body) else { return false }
        return switch kind {
        case .versioning: root["Status"] == nil
        case .protection: root["Status"]?.text == "Disabled"
        case .archiveDirectRead: root["Enabled"]?.text != "true"
        case .inventory: root.all("InventoryConfiguration").isEmpty
        default: false
        }
    }
}

extension Dialect {
    /// For people.
    package var provider: String {
        switch self {
        case .oss: "Alibaba Cloud OSS"
        case .s3: "Amazon S3"
        case .cos: "IBM Cloud Object Storage"
        case .oas: "Alibaba Archive Storage"
        }
    }
}
