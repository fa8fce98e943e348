import Crypto
import NIOCore
import Wire

/// The chain of signatures in a body of `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`: each chunk's covers the one before,
/// the first that of the request.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html>
struct ChunkSignatures {
    private static let emptyDigest = Digest.sha256Hex([])

    private let key: [UInt8]
    /// The request's time and the scope of its signature, as the strings to sign have them.
    private let context: String
    private var previous: String
    private var digest = SHA256()

    /// - Parameter date: the value of `x-amz-date`
    init(_ claim: SignatureClaim, date: String, secret: String) {
        let terminator = "aws4_request"
        let scope = [claim.scope.day, claim.scope.region, claim.scope.service, terminator]
        key = scope.reduce(Array(("AWS4" + secret).utf8)) { Digest.hmacSHA256(key: $0, Array($1.utf8)) }
        context = date + "\n" + scope.joined(separator: "/")
        previous = claim.signature
    }

    mutating func update(_ buffer: ByteBuffer) {
        buffer.withUnsafeReadableBytes { digest.update(bufferPointer: $0) }
    }

    /// Ends a chunk: its data is what was taken in since the chunk before.
    mutating func endChunk(_ signature: String?) throws(ProviderError) {
        let data = Hex.encode(digest.finalize())
        digest = SHA256()
        try check(
            signature,
            "AWS4-HMAC-SHA256-PAYLOAD\n\(context)\n\(previous)\n\(Self.emptyDigest)\n\(data)"
        )
    }

    /// Ends the trailers, which are signed as `name:value` lines in the order they came.
    mutating func endTrailers(_ trailers: [(name: String, value: String)]) throws(ProviderError) {
        let signed = trailers.filter { $0.name != "x-amz-trailer-signature" }
        let lines = signed.map { "\($0.name):\($0.value)\n" }.joined()
        try check(
            trailers.first { $0.name == "x-amz-trailer-signature" }?.value,
            "AWS4-HMAC-SHA256-TRAILER\n\(context)\n\(previous)\n\(Digest.sha256Hex(Array(lines.utf8)))"
        )
    }

    private mutating func check(_ signature: String?, _ text: String) throws(ProviderError) {
        let own = Hex.encode(Digest.hmacSHA256(key: key, Array(text.utf8)))
        guard let signature, Digest.matches(own, signature) else {
            throw ProviderError(
                403,
                "SignatureDoesNotMatch",
                "The signature of a chunk does not match what we calculated.",
                details: [("SignatureProvided", signature ?? ""), ("StringToSign", text)]
            )
        }
        previous = own
    }
}
