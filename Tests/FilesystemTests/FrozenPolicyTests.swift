import ObjectStore
import Testing
import ThawCore
import ThawTesting

@testable import Filesystem

@Suite("reads of frozen files")
struct FrozenReadTests {
    @Test("a handle of a frozen object that was replaced by another restores nothing")
    func replaced() async throws {
        var frozen = FrozenPolicy()
        (frozen.behaviour, frozen.eagainAt) = (.eagain, .read)
        let fixture = try Fixture(frozen: frozen, [])
        let key = ObjectKey("f")
        fixture.store.put(key, [1], class: "ColdArchive")
        let inode = try #require(try await fixture.lookup("f")).inode
        let handle = try await fixture.filesystem.open(inode, caller: .unknown).handle
        fixture.store.put(key, [2], class: "ColdArchive")
        await fixture.filesystem.learned(key, version: nil, fixture.store.record(key))
        await #expect(throws: FileError.stale) {
            try await fixture.filesystem.read(handle, offset: 0, sizeBytes: 1, caller: .unknown)
        }
        #expect(fixture.store.orders.isEmpty)
    }
}

@Suite("how long a read may wait for a restore")
struct FrozenPolicyTests {
    @Test(
        "a wait stays below the kernel's request timeout",
        arguments: [
            // kernel's default, kernel's maximum, restore_wait, what is left of it
            (0, 0, Duration.seconds(300), Duration.seconds(300), false),
            (600, 0, .seconds(300), .seconds(300), false),
            (60, 0, .seconds(300), .seconds(40), true),
            (0, 90, .seconds(300), .seconds(70), true),
            (600, 90, .seconds(300), .seconds(70), true),
            (5, 0, .seconds(300), .seconds(1), true),
        ])
    func fits(kernelDefault: Int, kernelMaximum: Int, wait: Duration, left: Duration, isShortened: Bool) {
        var policy = FrozenPolicy()
        policy.waitMax = wait
        let answer = policy.fit(kernelDefaultSeconds: kernelDefault, kernelMaximumSeconds: kernelMaximum)
        #expect(answer == isShortened)
        #expect(policy.waitMax == left)
    }

    @Test("a wait for ever ends before the kernel's request timeout, if it has one")
    func forever() {
        var policy = FrozenPolicy()
        policy.waitMax = nil
        let isShortenedByNone = policy.fit(kernelDefaultSeconds: 0, kernelMaximumSeconds: 0)
        #expect(!isShortenedByNone)
        #expect(policy.waitMax == nil)
        let isShortened = policy.fit(kernelDefaultSeconds: 3600, kernelMaximumSeconds: 0)
        #expect(isShortened)
        #expect(policy.waitMax == .seconds(3580))
    }
}
