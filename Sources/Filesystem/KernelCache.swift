/// What the kernel remembers of this filesystem, and can be told to forget. Safe from any task; none of the calls that
/// tell it waits for a request to be answered.
package final class KernelCache: Sendable {
    private let attributes: @Sendable (UInt64) -> Void
    private let content: @Sendable (UInt64) -> Void
    private let name: @Sendable (_ parent: UInt64, _ name: [UInt8]) -> Void
    private let told: @Sendable () async -> Void

    package init(
        forgetAttributes: @escaping @Sendable (UInt64) -> Void,
        forgetContent: @escaping @Sendable (UInt64) -> Void,
        forgetName: @escaping @Sendable (_ parent: UInt64, _ name: [UInt8]) -> Void,
        waitUntilTold: @escaping @Sendable () async -> Void
    ) {
        attributes = forgetAttributes
        content = forgetContent
        name = forgetName
        told = waitUntilTold
    }

    /// The next `stat` asks us. The inode's pages stay; the kernel drops them itself when size or time changed.
    func forgetAttributes(of inode: UInt64) { attributes(inode) }

    /// The next read asks us, once those that are under way are answered.
    func forgetContent(of inode: UInt64) { content(inode) }

    /// The next lookup of the name asks us.
    func forgetName(_ name: [UInt8], in parent: UInt64) { self.name(parent, name) }

    /// Returns once it was told all of that. Not for who answers a request: the kernel may hold a lock until then.
    func waitUntilTold() async { await told() }
}
