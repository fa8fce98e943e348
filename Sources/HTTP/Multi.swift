internal import CCurl
internal import Glibc

/// libcurl's multi handle, driven by readiness and one timer: it says which descriptors to watch and when it wants
/// to be called, and does everything inside `act` and `actIfDue`. Confined to the loop's thread.
final class Multi {
    private let handle: OpaquePointer
    private let poller: Poller
    /// When libcurl wants to be called, in milliseconds of the monotonic clock; nil for never.
    private var deadline: Int?

    init(poller: Poller, connectionsMax: Int) throws(HTTPError) {
        guard globalInitialisation == CURLE_OK, let handle = curl_multi_init() else {
            throw .connect("libcurl cannot be initialised")
        }
        self.handle = OpaquePointer(handle)
        self.poller = poller
        set(CURLMOPT_MAX_HOST_CONNECTIONS, connectionsMax)
        set(CURLMOPT_MAX_TOTAL_CONNECTIONS, connectionsMax)
        set(CURLMOPT_MAXCONNECTS, connectionsMax)
        set(CURLMOPT_PIPELINING, Int(CURLPIPE_NOTHING))
        // SAFETY: unretained, because the callbacks are taken back in `deinit` before the handle is destroyed.
        let context = Unmanaged.passUnretained(self).toOpaque()
        check(thaw_curl_multi_set_socket_function(self.handle.raw, socketChanged, context))
        check(thaw_curl_multi_set_timer_function(self.handle.raw, timerChanged, context))
    }

    deinit {
        check(thaw_curl_multi_set_socket_function(handle.raw, nil, nil))
        check(thaw_curl_multi_set_timer_function(handle.raw, nil, nil))
        check(curl_multi_cleanup(handle.raw))
    }

    func add(_ easy: Easy) { check(curl_multi_add_handle(handle.raw, easy.handle)) }

    /// Takes the handle out, at whatever point its exchange is; a connection in the middle of one is closed.
    func remove(_ easy: Easy) { check(curl_multi_remove_handle(handle.raw, easy.handle)) }

    /// Milliseconds until `actIfDue` has something to do, -1 for never.
    var waitMilliseconds: Int32 {
        guard let deadline else { return -1 }
        return Int32(min(max(deadline - monotonicMilliseconds(), 0), Int(Int32.max)))
    }

    /// Goes on with whatever waited for this descriptor.
    func act(_ descriptor: Int32, _ readiness: Readiness) {
        var events: Int32 = 0
        if readiness.contains(.readable) { events |= CURL_CSELECT_IN }
        if readiness.contains(.writable) { events |= CURL_CSELECT_OUT }
        if !readiness.isDisjoint(with: .failed) { events |= CURL_CSELECT_ERR }
        act(descriptor, events)
    }

    /// Goes on with what waited for the timer, if its time has come.
    func actIfDue() {
        guard let deadline, deadline <= monotonicMilliseconds() else { return }
        self.deadline = nil
        act(CURL_SOCKET_TIMEOUT, 0)
    }

    /// One transfer that libcurl is done with, and its failure, if any. It is still in the multi handle.
    func nextFinished() -> (Transfer, HTTPError?)? {
        var left: Int32 = 0
        while let message = curl_multi_info_read(handle.raw, &left) {
            guard message.pointee.msg == CURLMSG_DONE, let handle = message.pointee.easy_handle,
                let transfer = Easy.transfer(of: handle), let easy = transfer.easy
            else { continue }
            return (transfer, easy.failure(message.pointee.data.result))
        }
        return nil
    }

    private func act(_ descriptor: Int32, _ events: Int32) {
        var running: Int32 = 0
        check(curl_multi_socket_action(handle.raw, descriptor, events, &running))
    }

    fileprivate func watch(_ descriptor: Int32, _ what: Int32, isWatched: Bool) {
        switch what {
        case CURL_POLL_REMOVE: poller.ignore(descriptor)
        case CURL_POLL_IN: poller.watch(descriptor, for: .readable, isWatched: isWatched)
        case CURL_POLL_OUT: poller.watch(descriptor, for: .writable, isWatched: isWatched)
        default: poller.watch(descriptor, for: [.readable, .writable], isWatched: isWatched)
        }
        if what != CURL_POLL_REMOVE, !isWatched {
            check(curl_multi_assign(handle.raw, descriptor, watchedMark))
        }
    }

    fileprivate func setTimer(milliseconds: Int) {
        deadline = milliseconds < 0 ? nil : monotonicMilliseconds() + milliseconds
    }

    private func set(_ option: CURLMoption, _ value: Int) {
        check(thaw_curl_multi_setopt_long(handle.raw, option, value))
    }

    /// libcurl's multi calls fail for a handle that is none, or used inside a callback: bugs of ours.
    private func check(_ code: CURLMcode) {
        precondition(code == CURLM_OK, "curl_multi: \(code.rawValue)")
    }
}

extension OpaquePointer {
    fileprivate var raw: UnsafeMutableRawPointer { UnsafeMutableRawPointer(self) }
}

/// Done once in the process, whoever comes first; libcurl 7.84 and later allow it on any thread.
private let globalInitialisation = curl_global_init(Int(CURL_GLOBAL_DEFAULT))

private func monotonicMilliseconds() -> Int {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return time.tv_sec * 1000 + time.tv_nsec / 1_000_000
}

// MARK: - Callbacks. They run inside `act`, `add` and `remove`, on the loop's thread.

/// What libcurl keeps beside a descriptor that is in the poller; it is not dereferenced.
private var watchedMark: UnsafeMutableRawPointer? { UnsafeMutableRawPointer(bitPattern: 1) }

private let socketChanged: curl_socket_callback = { _, descriptor, what, context, mark in
    // SAFETY: the multi handle that calls is owned by this object, see `init`.
    guard let context else { return 0 }
    Unmanaged<Multi>.fromOpaque(context).takeUnretainedValue().watch(descriptor, what, isWatched: mark != nil)
    return 0
}

private let timerChanged: curl_multi_timer_callback = { _, milliseconds, context in
    // SAFETY: as above.
    guard let context else { return 0 }
    Unmanaged<Multi>.fromOpaque(context).takeUnretainedValue().setTimer(milliseconds: milliseconds)
    return 0
}
