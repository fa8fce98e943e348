internal import Filesystem
package import Fuse
internal import Glibc

extension Dispatcher {
    package func getxattr(
        _ request: consuming Request, inode: UInt64, name: UnsafeRawBufferPointer, sizeBytes: Int
    ) {
        // `ls -l` asks every file for its ACL and its capabilities: answered here, without a task.
        guard let attribute = ThawAttribute(attributeName: String(decoding: name, as: UTF8.self)) else {
            return request.reply(errno: name.starts(with: "system.".utf8) ? EOPNOTSUPP : ENODATA)
        }
        inFlight.run(request) { [self] reply in
            await finish(reply) { () throws(FileError) in
                let value = try await filesystem.attribute(inode, attribute)
                return try Self.answer(value, sizeBytes: sizeBytes)
            }
        }
    }

    package func listxattr(_ request: consuming Request, inode: UInt64, sizeBytes: Int) {
        inFlight.run(request) { [self] reply in
            await finish(reply) { () throws(FileError) in
                let names = try await filesystem.attributeNames(inode)
                return try Self.answer(names.flatMap { Array($0.attributeName.utf8) + [0] }, sizeBytes: sizeBytes)
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
        _ request: consuming Request, inode: UInt64, name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer
    ) {
        let name = String(decoding: name, as: UTF8.self)
        guard name.hasPrefix(ThawAttribute.prefix) else { return request.reply(errno: EROFS) }
        guard let attribute = ThawAttribute(attributeName: name) else { return request.reply(errno: EOPNOTSUPP) }
        let value = Array(value)
        let caller = request.caller
        inFlight.run(request) { [self] reply in
            await finish(reply) { () throws(FileError) in
                try await filesystem.setAttribute(inode, attribute, value: value, caller: caller)
                return { $0.reply(errno: 0) }
            }
        }
    }

    package func removexattr(_ request: consuming Request, inode: UInt64, name: UnsafeRawBufferPointer) {
        let name = String(decoding: name, as: UTF8.self)
        guard name.hasPrefix(ThawAttribute.prefix) else { return request.reply(errno: EROFS) }
        guard let attribute = ThawAttribute(attributeName: name) else { return request.reply(errno: EOPNOTSUPP) }
        let caller = request.caller
        inFlight.run(request) { [self] reply in
            await finish(reply) { () throws(FileError) in
                try await filesystem.removeAttribute(inode, attribute, caller: caller)
                return { $0.reply(errno: 0) }
            }
        }
    }
}
