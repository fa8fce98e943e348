internal import Filesystem
package import Fuse
internal import Glibc
internal import ThawCore
internal import Wire

extension Dispatcher {
    package func getxattr(
        _ request: consuming Request, inode: UInt64, name: UnsafeRawBufferPointer, sizeBytes: Int
    ) {
        // Of a file system that answers "unsupported" `ls -l` asks for ACL and security context once, and of one
        // that has none of the kind for every file.
        guard let attribute = AttributeName(name) else {
            return request.reply(errno: name.starts(with: "user.".utf8) ? ENODATA : EOPNOTSUPP)
        }
        inFlight.run(request) { [self] reply in
            await finish(reply) { () throws(FileError) in
                let value = switch attribute {
                case .ours(let name): try await filesystem.attribute(inode, name)
                case .bucket(let configuration): try await filesystem.bucketAttribute(inode, configuration)
                case .stored(let name): try await filesystem.extendedAttribute(inode, name)
                }
                return try Self.answer(value, sizeBytes: sizeBytes)
            }
        }
    }

    package func listxattr(_ request: consuming Request, inode: UInt64, sizeBytes: Int) {
        inFlight.run(request) { [self] reply in
            await finish(reply) { () throws(FileError) in
                let names = try await filesystem.attributeNames(inode).map(\.attributeName)
                    + (try await filesystem.extendedAttributeNames(inode))
                return try Self.answer(names.flatMap { Array($0.utf8) + [0] }, sizeBytes: sizeBytes)
            }
        }
    }

    /// The value, or its length when the caller's buffer is of size 0.
    private static func answer(
        _ value: [UInt8], sizeBytes: Int
    ) throws(FileError) -> @Sendable (consuming Request) -> Void {
        if sizeBytes == 0 { return { $0.reply(xattrSize: value.count) } }
        guard value.count <= sizeBytes else { throw .tooSmall }
        return { request in
            var request: Request? = request
            value.withUnsafeBytes { request.take()?.reply($0) }
        }
    }

    package func setxattr(
        _ request: consuming Request, inode: UInt64, name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer,
        flags: XattrFlags
    ) {
        let value = Array(value)
        changeAttribute(request, name) { [filesystem] attribute, caller throws(FileError) in
            switch attribute {
            case .ours(let name): try await filesystem.setAttribute(inode, name, value: value, caller: caller)
            case .bucket(let configuration):
                try await filesystem.setBucketAttribute(inode, configuration, value: value)
            case .stored(let name):
                try await filesystem.setExtendedAttribute(
                    inode, name, value: value, create: flags.contains(.create), replace: flags.contains(.replace),
                    caller: caller)
            }
        }
    }

    package func removexattr(_ request: consuming Request, inode: UInt64, name: UnsafeRawBufferPointer) {
        changeAttribute(request, name) { [filesystem] attribute, caller throws(FileError) in
            switch attribute {
            case .ours(let name): try await filesystem.removeAttribute(inode, name, caller: caller)
            case .bucket(let configuration): try await filesystem.removeBucketAttribute(inode, configuration)
            case .stored(let name): try await filesystem.removeExtendedAttribute(inode, name, caller: caller)
            }
        }
    }

    private func changeAttribute(
        _ request: consuming Request, _ name: UnsafeRawBufferPointer,
        _ change: @escaping @Sendable (AttributeName, Caller) async throws(FileError) -> Void
    ) {
        // Our own are commands, which a mount that only reads takes as well.
        if filesystem.isReadOnly, !name.starts(with: ThawAttribute.prefix.utf8) {
            return request.reply(errno: EROFS)
        }
        guard let attribute = AttributeName(name) else { return request.reply(errno: EOPNOTSUPP) }
        let caller = request.caller
        inFlight.run(request, isChange: true) { [self] reply in
            await finish(reply) { () throws(FileError) in
                try await change(attribute, caller)
                return { $0.reply(errno: 0) }
            }
        }
    }
}

/// The extended attributes that can be here.
private enum AttributeName {
    case ours(ThawAttribute)
    /// `user.thaw.bucket.NAME`
    case bucket(BucketConfiguration)
    /// What users keep with their files, by its full name.
    case stored(String)

    private static let bucketPrefix = ThawAttribute.prefix + "bucket."

    init?(_ bytes: UnsafeRawBufferPointer) {
        let name = String(decoding: bytes, as: UTF8.self)
        if name.hasPrefix(Self.bucketPrefix) {
            guard let configuration = BucketConfiguration(name: String(name.dropFirst(Self.bucketPrefix.count))) else {
                return nil
            }
            self = .bucket(configuration)
        } else if name.hasPrefix(ThawAttribute.prefix) {
            guard let attribute = ThawAttribute(attributeName: name) else { return nil }
            self = .ours(attribute)
        } else if name.hasPrefix("user.") {
            self = .stored(name)
        } else {
            return nil
        }
    }
}
