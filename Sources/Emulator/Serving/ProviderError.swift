import ThawCore
import Wire

/// A refusal as a provider words it: what the error document says.
struct ProviderError: Error, Sendable {
    var status: Int
    var code: String
    var message: String
    /// OSS's finer error code.
    var ec: String?
    /// Further elements of the error document, in order.
    var details: [(name: StaticString, value: String)]
    /// Response headers that go with it, dialect prefix included.
    var headers: [(name: String, value: String)]

    init(
        _ status: Int,
        _ code: String,
        _ message: String,
        ec: String? = nil,
        details: [(name: StaticString, value: String)] = [],
        headers: [(name: String, value: String)] = []
    ) {
        self.status = status
        self.code = code
        self.message = message
        self.ec = ec
        self.details = details
        self.headers = headers
    }

    /// The error document of `dialect`.
    func document(_ dialect: Dialect, requestID: String, host: String, resource: String) -> [UInt8] {
        var xml = XMLWriter()
        xml.element("Error") { xml in
            xml.element("Code", code)
            xml.element("Message", message)
            if dialect.speaksS3 { xml.element("Resource", resource) }
            for (name, value) in details { xml.element(name, value) }
            xml.element("RequestId", requestID)
            if dialect == .cos { xml.element("httpStatusCode", status) } else { xml.element("HostId", host) }
            if dialect == .oss, let ec {
                xml.element("EC", ec)
                xml.element("RecommendDoc", "https://api.aliyun.com/troubleshoot?q=\(ec)")
            }
        }
        return xml.bytes
    }
}

extension ProviderError {
    /// As OAS words it.
    var json: JSON {
        ["code": .string(code), "message": .string(message), "type": status < 500 ? "client" : "server"]
    }

    static let noSuchKey = ProviderError(
        404,
        "NoSuchKey",
        "The specified key does not exist.",
        ec: "0026-00000001"
    )
    static let noSuchBucket = ProviderError(
        404,
        "NoSuchBucket",
        "The specified bucket does not exist.",
        ec: "0015-00000101"
    )
    static let noSuchVersion = ProviderError(404, "NoSuchVersion", "The specified version does not exist.")
    static let noSuchUpload = ProviderError(
        404,
        "NoSuchUpload",
        "The specified upload does not exist. The upload ID may be invalid, or aborted."
    )
    static let malformedXML = ProviderError(
        400,
        "MalformedXML",
        "The XML you provided was not well-formed or did not validate against our published schema.",
        ec: "0016-00000706"
    )
    static let bucketNotEmpty = ProviderError(
        409,
        "BucketNotEmpty",
        "The bucket you tried to delete is not empty."
    )
    static let accessDenied = ProviderError(403, "AccessDenied", "Access Denied.", ec: "0003-00000001")

    static func invalidArgument(_ message: String, ec: String? = nil) -> ProviderError {
        ProviderError(400, "InvalidArgument", message, ec: ec)
    }

    static func preconditionFailed(_ condition: String) -> ProviderError {
        ProviderError(
            412,
            "PreconditionFailed",
            "At least one of the pre-conditions you specified did not hold",
            details: [("Condition", condition)]
        )
    }

    static func notImplemented(_ what: String) -> ProviderError {
        ProviderError(501, "NotImplemented", "The emulator does not implement \(what).")
    }

    static func internalError(_ why: String) -> ProviderError {
        ProviderError(500, "InternalError", "We encountered an internal error: \(why)")
    }

    /// What a dialect says to reading or copying an object that is frozen or being restored.
    static func invalidObjectState(_ version: ObjectVersion, _ dialect: Dialect, isCopySource: Bool)
        -> ProviderError
    {
        switch dialect {
        case .oss, .oas:
            return ProviderError(
                403,
                "InvalidObjectState",
                "The operation is not valid for the object's state",
                ec: "0016-00000404",
                details: [("ObjectName", version.key.description)]
            )
        case .cos:
            return ProviderError(
                403,
                "InvalidObjectState",
                "The operation is not valid for the current state of the object."
            )
        case .s3 where isCopySource:
            return ProviderError(
                403,
                "ObjectNotInActiveTierError",
                "The source object of the COPY operation is not in the active tier."
            )
        case .s3:
            var details: [(name: StaticString, value: String)] = [
                ("StorageClass", version.archive.storageClass.name)
            ]
            if let status = version.archive.archiveStatus { details.append(("AccessTier", status)) }
            return ProviderError(
                403,
                "InvalidObjectState",
                "The operation is not valid for the object's storage class",
                details: details
            )
        }
    }
}

extension RestoreRefusal {
    /// The dialect's words for it. Codes marked unverified in the vendors' documents are the likeliest ones.
    func providerError(_ dialect: Dialect) -> ProviderError {
        switch (self, dialect) {
        case (.notArchived, .oss):
            ProviderError(
                400,
                "OperationNotSupported",
                "The operation is not supported for this resource",
                ec: "0016-00000702",
                details: [("Detail", "RestoreObject operation does not support this object storage class")]
            )
        case (.notArchived, .cos):
            ProviderError(
                403,
                "InvalidObjectState",
                "The operation is not valid for the current state of the object."
            )
        case (.notArchived, _):
            ProviderError(
                403,
                "ObjectAlreadyInActiveTierError",
                "This object is already in the active tier and needs no restore"
            )
        case (.inProgress, .oss):
            ProviderError(
                409,
                "RestoreAlreadyInProgress",
                "The restore operation is in progress.",
                ec: "0016-00000701"
            )
        case (.tierLowered, .oss):
            .invalidArgument("The restore priority of the object cannot be lowered.", ec: "0016-00000715")
        case (.inProgress, _), (.tierLowered, _):
            ProviderError(409, "RestoreAlreadyInProgress", "Object restore is already in progress")
        case (.tierNotAllowed, .oss):
            ProviderError(
                400,
                "MalformedXML",
                "JobParameters cannot be given for an object of class Archive.",
                ec: "0016-00000714"
            )
        case (.tierNotAllowed, _):
            .invalidArgument("The storage class of the object takes no retrieval tier")
        case (.tier(let word), _):
            .invalidArgument("Tier \(word) is not valid for the object's storage class", ec: "0016-00000703")
        case (.days(let range), _):
            .invalidArgument(
                "Days must be from \(range.lowerBound) to \(range.upperBound)",
                ec: range.upperBound == 7 ? "0016-00000708" : "0016-00000704"
            )
        case (.daysNotAllowed, _):
            .invalidArgument("Days cannot be given for an object of class INTELLIGENT_TIERING")
        }
    }
}
