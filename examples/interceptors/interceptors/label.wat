;; Refuses requests that say `x-stop`, and labels responses: `label.wasm` is this, in binary
;; (`wasm-tools parse label.wat -o label.wasm`). Compilers of other languages write such a shell themselves.
(component
  ;; What is imported is what is used: without `body` no body is waited for.
  (import "micro-gw:interceptor/headers@0.1.0" (instance $headers
    (type $r (enum "forbidden" "malformed" "too-large" "misplaced"))
    (export "refusal" (type $refusal (eq $r)))
    (export "get" (func (param "name" string) (result (option string))))
    (export "set" (func (param "name" string) (param "value" string) (result (result (error $refusal)))))))

  ;; Memory, and room in it for what is handed over. Each call begins with it as it is here.
  (core module $libc
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param $old i32) (param $size i32) (param $align i32) (param $new i32) (result i32)
      (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.get $next)
      (global.set $next (i32.add (global.get $next) (local.get $new)))
      (if (i32.gt_u (global.get $next) (i32.const 65536)) (then unreachable))))
  (core instance $libc (instantiate $libc))

  (core func $get (canon lower (func $headers "get") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $set (canon lower (func $headers "set") (memory (core memory $libc "memory"))))

  (core module $main
    (import "libc" "memory" (memory 1))
    (import "host" "get" (func $get (param i32 i32 i32)))
    (import "host" "set" (func $set (param i32 i32 i32 i32 i32)))
    (data (i32.const 64) "x-stop") ;; 6
    (data (i32.const 80) "x-label") ;; 7
    (data (i32.const 96) "checked") ;; 7
    (data (i32.const 112) "stopped") ;; 7
    ;; A verdict: 1, which is to respond; at 4 the status, at 8 no headers, at 16 where the body is and how long.
    (data (i32.const 128) "\01\00\00\00\93\01\00\00\00\00\00\00\00\00\00\00\70\00\00\00\07\00\00\00")

    (func (export "on-request") (result i32)
      (call $get (i32.const 64) (i32.const 6) (i32.const 0))
      ;; A header that is there: 1. What is returned is where the verdict is; at 32 it says 0, to proceed.
      (if (result i32) (i32.load8_u (i32.const 0)) (then (i32.const 128)) (else (i32.const 32))))

    (func (export "on-response") (result i32)
      (call $set (i32.const 80) (i32.const 7) (i32.const 96) (i32.const 7) (i32.const 0))
      (i32.const 32)))
  (core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "host" (instance (export "get" (func $get)) (export "set" (func $set))))))

  (type $a (record (field "status" u16) (field "headers" (list (tuple string string))) (field "body" (list u8))))
  (export $answer "answer" (type $a))
  (type $v (variant (case "proceed") (case "respond" $answer)))
  (export $verdict "verdict" (type $v))
  (func $on-request (result $verdict) (canon lift (core func $main "on-request") (memory (core memory $libc "memory"))))
  (export "on-request" (func $on-request))
  (func $on-response (result $verdict) (canon lift (core func $main "on-response") (memory (core memory $libc "memory"))))
  (export "on-response" (func $on-response)))
