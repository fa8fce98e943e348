import HTTP
import ThawCore
import Wire

/// Amazon S3 and what speaks like it, IBM Cloud Object Storage among them.
struct S3Dialect: BucketDialect {
    let dialect: Dialect
    let headerPrefix = "x-amz-"
    let defaultClass = StorageClass("STANDARD")
    let namesClass: Bool
    let listsArchive: Bool
    let listHeaders: [(name: String, value: String)]
    let readHeaders: [(name: String, value: String)] = []
    let describeHeaders = [(name: "x-amz-checksum-mode", value: "ENABLED")]
    let uploadChecksumHeaders = [
        (name: "x-amz-checksum-algorithm", value: "CRC64NVME"), (name: "x-amz-checksum-type", value: "FULL_OBJECT"),
    ]
    let keyEncodingQuery: [QueryItem] = []
    let documentNamespace: String? = "http://s3.amazonaws.com/doc/2006-03-01/"
    let encodesTokens = false
    let encodesBlankAsPlus = true

    init(_ dialect: Dialect = .s3) {
        self.dialect = dialect
        // IBM COS puts nothing into an archive class but by lifecycle rules, lists every object with the default class,
        // and tells the rest by HEAD (IBM Cloud docs, "Archiving and accessing cold data").
        namesClass = dialect != .cos
        listsArchive = dialect != .cos
        // Restore states are listed only for those who ask.
        listHeaders = listsArchive ? [(name: "x-amz-optional-object-attributes", value: "RestoreStatus")] : []
    }

    func sign(
        _ request: inout SignableRequest,
        document: [UInt8]?,
        _ configuration: StoreConfiguration,
        credentials: Credentials,
        date: Timestamp
    ) {
        defer { request.headers += instanceHeader(request, configuration, credentials) }
        if let bearer = credentials.bearer {
            return request.headers.append(("authorization", "Bearer \(bearer.text)"))
        }
        let stamp = WireDate.basic(date)
        request.headers.append(("x-amz-date", stamp))
        request.headers.append(("x-amz-content-sha256", document.map(Digest.sha256Hex) ?? S3SignatureV4.unsignedPayload))
        // What a proxy may change, such as Accept-Encoding, is left unsigned.
        var signed = request
        signed.headers.removeAll { !$0.name.hasPrefix("x-amz-") && !$0.name.hasPrefix("content-") }
        signed.headers.append(("host", configuration.authority))
        let authorization = S3SignatureV4.authorization(
            signed,
            credentials: credentials,
            region: configuration.signedRegion,
            date: stamp
        )
        request.headers.append(("authorization", authorization))
    }

    /// What tells IBM COS whose buckets are meant, where the request names none that exists (IBM Cloud docs, "Common
    /// headers": required to list and to create buckets).
    private func instanceHeader(
        _ request: SignableRequest, _ configuration: StoreConfiguration, _ credentials: Credentials
    ) -> [(name: String, value: String)] {
        let isOfAccount = request.bucket == nil
        let isCreation = request.method == "PUT" && request.key.isEmpty && request.query.isEmpty
        guard isOfAccount || isCreation,
            let id = configuration.serviceInstanceID ?? credentials.bearer?.serviceInstanceID
        else { return [] }
        return [("ibm-service-instance-id", id)]
    }

    func checksum(_ head: HTTPResponseHead) -> UInt64? {
        head["x-amz-checksum-crc64nvme"].flatMap { CRC64.parse(base64: $0) }
    }

    func checksumHeaders(_ checksum: UInt64) -> [(name: String, value: String)] {
        [
            ("x-amz-sdk-checksum-algorithm", "CRC64NVME"),
            ("x-amz-checksum-crc64nvme", CRC64.base64(checksum)),
        ]
    }

    func completionChecksumHeaders(_ checksum: UInt64) -> [(name: String, value: String)] {
        [("x-amz-checksum-crc64nvme", CRC64.base64(checksum)), ("x-amz-checksum-type", "FULL_OBJECT")]
    }

    /// Intelligent-Tiering takes no days.
    func restoreBody(_ order: RestoreOrder) -> [UInt8] {
        var body = XMLWriter(declaration: false)
        body.element("RestoreRequest", namespace: documentNamespace) { request in
            if let days = order.days { request.element("Days", days) }
            if let tier = order.tier {
                request.element("GlacierJobParameters") { $0.element("Tier", tier.rawValue) }
            }
        }
        return body.bytes
    }

    func readRestoreState(_ xml: inout XMLReader, into restore: inout RestoreHeader?) throws(XMLError) -> Bool
    {
        guard xml.isNamed("RestoreStatus") else { return false }
        var isOngoing: Bool?
        var expiry: Timestamp?
        while try xml.nextChild() {
            if xml.isNamed("IsRestoreInProgress") {
                isOngoing = try xml.string() == "true"
            } else if xml.isNamed("RestoreExpiryDate") {
                expiry = WireDate.parseISO8601(try xml.string())
            } else {
                try xml.skip()
            }
        }
        if let isOngoing { restore = isOngoing ? .ongoing : .restored(until: expiry) }
        return true
    }
}
