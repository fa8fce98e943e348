import ThawCore
import Wire

/// What a request asks the store to do. Raw values are the names by which faults and the request log know it.
enum Operation: String, Sendable {
    case listBuckets = "ListBuckets"
    case createBucket = "CreateBucket"
    case deleteBucket = "DeleteBucket"
    case headBucket = "HeadBucket"
    case getBucketInfo = "GetBucketInfo"
    case getBucketLocation = "GetBucketLocation"
    case getBucketVersioning = "GetBucketVersioning"
    case putBucketVersioning = "PutBucketVersioning"
    case getArchiveDirectRead = "GetBucketArchiveDirectRead"
    case putArchiveDirectRead = "PutBucketArchiveDirectRead"
    case getConfiguration = "GetBucketConfiguration"
    case putConfiguration = "PutBucketConfiguration"
    case deleteConfiguration = "DeleteBucketConfiguration"
    case listObjects = "ListObjects"
    case listObjectsV2 = "ListObjectsV2"
    case listObjectVersions = "ListObjectVersions"
    case listMultipartUploads = "ListMultipartUploads"
    case deleteObjects = "DeleteObjects"
    case putObject = "PutObject"
    case getObject = "GetObject"
    case headObject = "HeadObject"
    case getObjectMeta = "GetObjectMeta"
    case deleteObject = "DeleteObject"
    case copyObject = "CopyObject"
    case restoreObject = "RestoreObject"
    case cleanRestoredObject = "CleanRestoredObject"
    case createMultipartUpload = "CreateMultipartUpload"
    case uploadPart = "UploadPart"
    case uploadPartCopy = "UploadPartCopy"
    case listParts = "ListParts"
    case completeMultipartUpload = "CompleteMultipartUpload"
    case abortMultipartUpload = "AbortMultipartUpload"
    case createVault = "CreateVault"
    case deleteVault = "DeleteVault"
    case describeVault = "DescribeVault"
    case listVaults = "ListVaults"
    case uploadArchive = "UploadArchive"
    case deleteArchive = "DeleteArchive"
    case describeArchive = "DescribeArchive"
    case createArchiveUpload = "CreateArchiveUpload"
    case listArchiveUploads = "ListArchiveUploads"
    case uploadArchivePart = "UploadArchivePart"
    case listArchiveParts = "ListArchiveParts"
    case completeArchiveUpload = "CompleteArchiveUpload"
    case abortArchiveUpload = "AbortArchiveUpload"
    case createJob = "CreateJob"
    case listJobs = "ListJobs"
    case describeJob = "DescribeJob"
    case getJobOutput = "GetJobOutput"
    // IBM's own.
    case issueToken = "IssueToken"
    case changeLegalHold = "ChangeLegalHold"
    case getLegalHold = "GetLegalHold"
    case extendRetention = "ExtendRetention"
    // S3's own.
    case getObjectRetention = "GetObjectRetention"
    case putObjectRetention = "PutObjectRetention"
    case getObjectLegalHold = "GetObjectLegalHold"
    case putObjectLegalHold = "PutObjectLegalHold"
    case unsupported = "Unsupported"
    // Cloud Backup's, whose names are its own.
    case describeVaults = "DescribeVaults"
    case searchHistoricalSnapshots = "SearchHistoricalSnapshots"
    case createRestoreJob = "CreateRestoreJob"
    case describeRestoreJobs = "DescribeRestoreJobs2"
    case cancelRestoreJob = "CancelRestoreJob"
    case unsupportedBackup = "UnsupportedBackup"

    var isListing: Bool { self == .listObjects || self == .listObjectsV2 || self == .listObjectVersions }

    var isBackup: Bool {
        switch self {
        case .describeVaults, .searchHistoricalSnapshots, .createRestoreJob, .describeRestoreJobs, .cancelRestoreJob,
            .unsupportedBackup:
            true
        default: false
        }
    }

    init(_ request: StoreRequest) {
        if request.method == "POST", request.wirePath == "/identity/token" {
            self = .issueToken
        } else if request.dialect == .oas {
            self = Self.onVaults(request)
        } else if let action = request.action {
            self = Operation(rawValue: action).flatMap { $0.isBackup ? $0 : nil } ?? .unsupportedBackup
        } else if request.bucketName == nil {
            self = request.method == "GET" ? .listBuckets : .unsupported
        } else if request.configuration != nil {
            self = Self.onConfiguration(request)
        } else if let operation = Self.onLock(request) {
            self = operation
        } else if request.query.contains(where: { Self.foreign.contains($0.name) }) {
            self = .unsupported
        } else if request.key.isEmpty {
            self = Self.onBucket(request)
        } else {
            self = Self.onObject(request)
        }
    }

    /// Sub-resources that would be mistaken for a plain GET, PUT, POST or DELETE if they were passed over.
    private static let foreign: Set<String> = [
        "accelerate", "acl", "analytics", "append", "attributes", "comp", "cors", "encryption",
        "intelligent-tiering",
        "inventory", "legal-hold", "lifecycle", "live", "logging", "metrics", "notification", "object-lock",
        "ownershipControls", "policy", "policyStatus", "publicAccessBlock", "referer", "renameObject",
        "replication",
        "requestPayment", "retention", "select", "stat", "symlink", "tagging", "torrent", "website", "worm",
        "x-oss-process", "x-oss-async-process", "resourceGroup", "transferAcceleration",
    ]

    private static func onVaults(_ request: StoreRequest) -> Operation {
        let path = String(decoding: request.key.bytes, as: UTF8.self)
        let words = path.split(separator: "/", omittingEmptySubsequences: false)
        guard request.wirePath == "/vaults" || request.wirePath.hasPrefix("/vaults/") else { return .unsupported }
        guard request.bucketName != nil else { return request.method == "GET" ? .listVaults : .unsupported }
        switch (request.method, words.first ?? "", words.count) {
        case ("PUT", "", _): return .createVault
        case ("DELETE", "", _): return .deleteVault
        case ("GET", "", _): return .describeVault
        case ("POST", "archives", 1): return .uploadArchive
        case ("DELETE", "archives", 2): return .deleteArchive
        case ("GET", "archives", 3) where words[2] == "meta": return .describeArchive
        case ("POST", "multipart-uploads", 1): return .createArchiveUpload
        case ("GET", "multipart-uploads", 1): return .listArchiveUploads
        case ("PUT", "multipart-uploads", 2): return .uploadArchivePart
        case ("GET", "multipart-uploads", 2): return .listArchiveParts
        case ("POST", "multipart-uploads", 2): return .completeArchiveUpload
        case ("DELETE", "multipart-uploads", 2): return .abortArchiveUpload
        case ("POST", "jobs", 1): return .createJob
        case ("GET", "jobs", 1): return .listJobs
        case ("GET", "jobs", 2): return .describeJob
        case ("GET", "jobs", 3) where words[2] == "output": return .getJobOutput
        default: return .unsupported
        }
    }

    private static func onConfiguration(_ request: StoreRequest) -> Operation {
        switch request.method {
        case "GET": .getConfiguration
        case "PUT" where request.policyPath == nil, "POST" where request.policyPath != nil: .putConfiguration
        case "DELETE": .deleteConfiguration
        default: .unsupported
        }
    }

    private static func onBucket(_ request: StoreRequest) -> Operation {
        switch request.method {
        case "GET":
            if request.has("bucketInfo") { return .getBucketInfo }
            if request.has("location") { return .getBucketLocation }
            if request.has("versioning") { return .getBucketVersioning }
            if request.has("bucketArchiveDirectRead") { return .getArchiveDirectRead }
            if request.has("versions") { return .listObjectVersions }
            if request.has("uploads") { return .listMultipartUploads }
            return request.parameter("list-type") == "2" ? .listObjectsV2 : .listObjects
        case "HEAD": return .headBucket
        case "PUT":
            if request.has("versioning") { return .putBucketVersioning }
            return request.has("bucketArchiveDirectRead") ? .putArchiveDirectRead : .createBucket
        case "DELETE": return .deleteBucket
        case "POST": return request.has("delete") ? .deleteObjects : .unsupported
        default: return .unsupported
        }
    }

    /// Nil for what is about no object lock.
    private static func onLock(_ request: StoreRequest) -> Operation? {
        guard request.dialect == .s3, !request.key.isEmpty else { return nil }
        return switch request.method {
        case "GET" where request.has("retention"): .getObjectRetention
        case "PUT" where request.has("retention"): .putObjectRetention
        case "GET" where request.has("legal-hold"): .getObjectLegalHold
        case "PUT" where request.has("legal-hold"): .putObjectLegalHold
        default: nil
        }
    }

    private static func onObject(_ request: StoreRequest) -> Operation {
        let copies = request.vendorHeader("copy-source") != nil
        switch request.method {
        case "GET":
            return request.has("uploadId")
                ? .listParts
                : request.has("objectMeta") ? .getObjectMeta : request.has("legalHold") ? .getLegalHold : .getObject
        case "HEAD": return request.has("objectMeta") ? .getObjectMeta : .headObject
        case "PUT":
            if request.has("partNumber") { return copies ? .uploadPartCopy : .uploadPart }
            return copies ? .copyObject : .putObject
        case "DELETE": return request.has("uploadId") ? .abortMultipartUpload : .deleteObject
        case "POST":
            if request.has("restore") { return .restoreObject }
            if request.has("cleanRestoredObject") { return .cleanRestoredObject }
            if request.has("legalHold") { return .changeLegalHold }
            if request.has("extendRetention") { return .extendRetention }
            if request.has("uploads") { return .createMultipartUpload }
            return request.has("uploadId") ? .completeMultipartUpload : .unsupported
        default: return .unsupported
        }
    }
}
