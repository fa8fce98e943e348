import ThawCore
import Wire

/// The document that answers a copy, or the completion of an upload. A store may begin such a reply with status 200
/// and fail later: the document is then an error.
struct WriteReply {
    var etag: String?
    var modified: Timestamp?
    /// S3's, of the whole content.
    var crc64: UInt64?

    init(_ body: [UInt8]) throws(XMLError) {
        var xml = try XMLReader(body)
        while try xml.nextChild() {
            if xml.isNamed("ETag") {
                etag = try xml.string()
            } else if xml.isNamed("LastModified") {
                modified = WireDate.parseISO8601(try xml.string())
            } else if xml.isNamed("ChecksumCRC64NVME") {
                crc64 = CRC64.parse(base64: try xml.string())
            } else {
                try xml.skip()
            }
        }
        try xml.finish()
    }
}

/// `<InitiateMultipartUploadResult>`
enum UploadReply {
    static func id(_ body: [UInt8]) throws(XMLError) -> String? {
        var xml = try XMLReader(body)
        var id: String?
        while try xml.nextChild() {
            if xml.isNamed("UploadId") { id = try xml.string() } else { try xml.skip() }
        }
        try xml.finish()
        return id
    }
}

/// `<DeleteResult>`: what was not deleted.
struct DeleteReply {
    struct Failure {
        var key: [UInt8] = []
        var code = ""
        var message = ""
    }

    private(set) var failures: [Failure] = []
    private(set) var isURLEncoded = false

    /// OSS answers a quiet request with nothing at all when all went well; S3 with an empty document.
    init(_ body: [UInt8], _ dialect: Dialect) throws(XMLError) {
        if body.isEmpty, dialect == .oss { return }
        var xml = try XMLReader(body)
        guard xml.isNamed("DeleteResult") else {
            throw XMLError(reason: "<\(xml.localName)> where the result of a deletion was expected", offset: 0)
        }
        while try xml.nextChild() {
            if xml.isNamed("Error") {
                var failure = Failure()
                while try xml.nextChild() {
                    if xml.isNamed("Key") {
                        failure.key = try xml.text()
                    } else if xml.isNamed("Code") {
                        failure.code = try xml.string()
                    } else if xml.isNamed("Message") {
                        failure.message = try xml.string()
                    } else {
                        try xml.skip()
                    }
                }
                failures.append(failure)
            } else if xml.isNamed("EncodingType") {
                isURLEncoded = try xml.string() == "url"
            } else {
                try xml.skip()
            }
        }
        try xml.finish()
    }
}

extension CRC64 {
    /// As S3 writes it; nil for anything else, such as the checksum of checksums of a composite one.
    static func parse(base64 text: some StringProtocol) -> UInt64? {
        guard let bytes = Base64.decode(text), bytes.count == 8 else { return nil }
        return bytes.reduce(0) { $0 << 8 | UInt64($1) }
    }

    static func base64(_ checksum: UInt64) -> String {
        Base64.encode(withUnsafeBytes(of: checksum.bigEndian) { Array($0) })
    }
}
