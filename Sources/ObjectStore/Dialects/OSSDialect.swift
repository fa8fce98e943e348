import HTTP
import ThawCore
import Wire

/// Alibaba Cloud OSS.
struct OSSDialect: BucketDialect {
    let dialect = Dialect.oss
    let headerPrefix = "x-oss-"
    let defaultClass = StorageClass("Standard")
    let namesClass = true
    let listsArchive = true
    let listHeaders: [(name: String, value: String)] = []
    // Without it OSS answers a range that passes the object's end with the whole object.
    let readHeaders = [(name: "x-oss-range-behavior", value: "standard")]
    let describeHeaders: [(name: String, value: String)] = []
    let uploadChecksumHeaders: [(name: String, value: String)] = []
    let keyEncodingQuery = [QueryItem("encoding-type", "url")]
    let documentNamespace: String? = nil
    let encodesTokens = true
    let encodesBlankAsPlus = false

    func sign(
        _ request: inout SignableRequest,
        document: [UInt8]?,
        _ configuration: StoreConfiguration,
        credentials: Credentials,
        date: Timestamp
    ) {
        let authorization: String
        switch configuration.signature {
        case .v4:
            let stamp = WireDate.basic(date)
            request.headers.append(("x-oss-date", stamp))
            request.headers.append(("x-oss-content-sha256", OSSSignatureV4.unsignedPayload))
            authorization = OSSSignatureV4.authorization(
                request,
                credentials: credentials,
                region: configuration.region,
                date: stamp
            )
        case .v1:
            request.headers.append(("date", WireDate.rfc1123(date)))
            authorization = OSSSignatureV1.authorization(request, credentials: credentials)
        }
        request.headers.append(("authorization", authorization))
    }

    func checksum(_ head: HTTPResponseHead) -> UInt64? { head["x-oss-hash-crc64ecma"].flatMap { UInt64($0) } }

    // OSS answers every write with the checksum of what it has, and takes none.
    func checksumHeaders(_ checksum: UInt64) -> [(name: String, value: String)] { [] }
    func completionChecksumHeaders(_ checksum: UInt64) -> [(name: String, value: String)] { [] }

    /// A tier is named for classes that have tiers only: Archive refuses `JobParameters`.
    func restoreBody(_ order: RestoreOrder) -> [UInt8] {
        var body = XMLWriter(declaration: false)
        body.element("RestoreRequest") { request in
            if let days = order.days { request.element("Days", days) }
            if let tier = order.tier {
                request.element("JobParameters") { $0.element("Tier", tier.rawValue) }
            }
        }
        return body.bytes
    }

    func readRestoreState(_ xml: inout XMLReader, into restore: inout RestoreHeader?) throws(XMLError) -> Bool
    {
        guard xml.isNamed("RestoreInfo") else { return false }
        restore = RestoreHeader(try xml.string())
        return true
    }
}
