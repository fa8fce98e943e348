import Crypto

/// The digests that requests carry and signatures are made of.
package enum Digest {
    /// For `Content-MD5`.
    package static func md5Base64(_ bytes: [UInt8]) -> String { Base64.encode(md5(bytes)) }

    package static func md5(_ bytes: [UInt8]) -> [UInt8] { Array(Insecure.MD5.hash(data: bytes)) }

    /// MD5 of bytes that come in pieces.
    package struct MD5: Sendable {
        private var hash = Insecure.MD5()

        package init() {}

        package mutating func update(_ bytes: UnsafeRawBufferPointer) { hash.update(bufferPointer: bytes) }

        package var value: [UInt8] { Array(hash.finalize()) }
    }

    /// Lowercase, for `x-amz-content-sha256` and the strings to sign.
    package static func sha256Hex(_ bytes: [UInt8]) -> String { Hex.encode(SHA256.hash(data: bytes)) }

    package static func sha256(_ bytes: [UInt8]) -> [UInt8] { Array(SHA256.hash(data: bytes)) }

    package static func hmacSHA256(key: [UInt8], _ message: [UInt8]) -> [UInt8] {
        Array(HMAC<SHA256>.authenticationCode(for: message, using: SymmetricKey(data: key)))
    }

    package static func hmacSHA1(key: [UInt8], _ message: [UInt8]) -> [UInt8] {
        Array(HMAC<Insecure.SHA1>.authenticationCode(for: message, using: SymmetricKey(data: key)))
    }

    /// Compares two signatures in a time that tells nothing of where they differ.
    package static func matches(_ left: String, _ right: String) -> Bool {
        let left = Array(left.utf8), right = Array(right.utf8)
        guard left.count == right.count else { return false }
        var difference: UInt8 = 0
        for index in left.indices { difference |= left[index] ^ right[index] }
        return difference == 0
    }
}
