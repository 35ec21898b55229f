/* Who may write: claims, as a model for Spin 6.5. README.md says what is checked and how to run it.
 *
 * One shard. All agents read the same commands log C in order:
 *      c0  two events          c1  one event (the upgraded agent: two)
 *      c2  the id of c0 again  c3  one event          (NC = how many of them there are)
 * The events topic E only grows (LOSS: one power cut takes its tail). What an agent has handed to a producer lands record by
 * record, in order, at any later time, also after its process has crashed or was deposed.
 *
 * A *chain* is the whole history packed into an int, four bits per event, newest last. So chain(n) holds every value before n,
 * as the SHA-256 chain does; its length is the sequence; "the chain fits" is ch>>4 == mine.
 *
 * What keeps the state space small and loses nothing:
 *  - An owner decides all it can read at once. Deciding later looks, from outside, like landing later; having decided less before
 *    a crash is one of the cuts of its store that a crash may make.
 *  - A crash leaves ANY prefix of whole commands of the store (LOSS: not less than what was fsynced). This covers the process
 *    crash, the batch that was not fsynced, and the lost disk (prefix 0).
 *  - Without LOSS the valid log never shrinks. So what may be answered is checked at the first moment at which the agent could
 *    answer; a pause before it changes nothing. Pausing is otherwise simply not being scheduled.
 *  - A void record stays void (what precedes it decides); so its content is forgotten as soon as it has landed.
 *  - Without LOSS, what a follower reads early it would also read at its claim; so it reads in the final calm only.
 *
 * Behaviour:  UPGRADE  agents with odd number decide c0 and c1 differently     LOSS  one power cut takes records from E
 *             NA 2|3   agents     NC 3|4  commands    CRASH, ERRS, CLAIMS  how often each may happen     EXEC  with the executor
 * Rules (README.md, "Rule changes"):  OLD_HOLE  the rule before the change   FIX_ID  FIX_BREAK  FIX_ALARM  FIX_FLOOR  rules for LOSS
 * Planted bugs: BUG_..., each must be found. */

#ifndef NA
#define NA 2
#endif
#ifndef NC
#define NC 3
#endif
#ifndef CRASH
#define CRASH 1           /* process crashes */
#endif
#ifndef ERRS
#define ERRS 1            /* delivery errors, timeouts: the agent gives up its producer, whose records may still land */
#endif
#ifndef CLAIMS
#define CLAIMS 3          /* claims before the final calm; in the calm the survivor may claim as often as it needs to */
#endif
#define MAXE   22         /* records in E; overflow is a failed assertion, not a silent cut */
#define CUR    (2*me)     /* producers: 2a is agent a's own, 2a+1 is what an abandoned one still has in flight */
#define OLD    (2*me+1)

/* ---------------------------------------------------------------- events: 4 bits each -------------------------------------- */
#define EV_00   1         /* c0, 1/2: same bytes from every agent */
#define EV_01   2         /* c0, 2/2 */
#define EV_01U  3         /* c0, 2/2, as the upgraded agent decides it */
#define EV_1    4         /* c1, 1/1 */
#define EV_1U0  5         /* c1, 1/2, upgraded */
#define EV_1U1  6         /* c1, 2/2, upgraded */
#define EV_2    7         /* c2 decided as if it were new: must never be valid */
#define EV_3    8         /* c3, 1/1 */

#define code(ch)  ((ch) & 15)
#define ends(ch)  (code(ch)!=EV_00 && code(ch)!=EV_1U0)                                              /* i == k */
#define posOf(ch) ((ch)==0 -> 0 : (code(ch)<=3 -> 1 : (code(ch)<=6 -> 2 : (code(ch)==7 -> 3 : 4))))  /* offset to go on from */
#define seq(ch)   ((ch)==0 -> 0 : ((ch)<16 -> 1 : ((ch)<256 -> 2 : ((ch)<4096 -> 3 : ((ch)<65536 -> 4 : ((ch)<1048576 -> 5 : 6))))))
#define prefix(a,b) (seq(a)<=seq(b) && ((b)>>(4*(seq(b)-seq(a))))==(a))
#define whole(x)  do :: (x)!=0 && !ends(x) -> x = (x)>>4 :: else -> break od                         /* cut to whole commands */
#ifdef UPGRADE
#define upgraded  ((me)&1)
#else
#define upgraded  0
#endif

/* ---------------------------------------------------------------- the world ------------------------------------------------ */
typedef Rec {             /* one record of E */
  byte ep;                /* event: header kinlog_epoch; claim: the epoch that it begins */
  int  ch;                /* event: its chain; claim: 0 */
#ifdef LOSS
  byte id                 /* the claim's own id (FIX_ID: also in the event's kinlog_epoch) */
#endif
}
typedef Prod {            /* a producer, and what its process knows by delivery reports */
  bit  claim;             /* a claim is in flight */
  byte off;               /* an offset up to which the owner knows it is alone: at first its claim's; 0: no report yet */
  byte b;                 /* the sequence that belongs to off: the base of density */
  byte ep;
  int  h;                 /* handed over: events up to this chain */
  int  l;                 /* landed: events up to this chain */
  int  d;                 /* known to be valid: landed densely */
  bit  hole;              /* a delivery report was not dense */
#ifdef LOSS
  byte id; byte floor     /* FIX_FLOOR: highest epoch known to the claimant */
#endif
}
Rec  E[MAXE];
byte tip;                 /* offsets are 1..tip */
Prod P[2*NA];

byte st[NA];              /* the process: */
#define FOLLOW 0          /* up, or down and about to come up: it makes no difference to the others */
#define CLAIM  1          /* claim handed over, its delivery report awaited */
#define OWN    2
#define STOP   3          /* refuses to go on, alarm raised */
int  store[NA];           /* the log in the agent's store */
byte crashes=CRASH, errs=ERRS, claims=CLAIMS;
bit  calm; byte surv;     /* the end: no more crashes and errors, only agent surv claims */
#ifdef LOSS
int  synced[NA];          /* what of the store a crash cannot take */
int  mark[NA];            /* durable: this much of the store is known to have been in the topic */
byte top[NA];             /* durable: highest epoch seen */
byte seen[NA];            /* followers: read up to here */
byte nonce;
bit  cut;                 /* the power cut happened */
bit  alarmed;             /* somebody said: the topic lost what had been acknowledged */
int  told;                /* ghost: the longest history that an answer rested on */
#endif

/* ghost: the strict reader of all of E. Nobody in the model reads it, only the assertions do. */
byte gEp, gId; int gLog, gPend; bit gFault;

#ifdef EXEC
typedef Chan { byte ep; int h; int l }          /* storage commands in flight: (l, h] under ep */
Chan S[2*NA];
byte xHi; byte xMax; byte xDone;                /* executor: highest epoch seen; ghost: highest executed; position mark */
#endif

/* ---------------------------------------------------------------- the strict reader ---------------------------------------- */
/* What is valid is a function of the records alone, from the first on; the reader's store has no part in it. */
#ifdef FIX_ID
#define same(r,Ep,Id)  (E[r].ep==Ep && E[r].id==Id)
#else
#define same(r,Ep,Id)  (E[r].ep==Ep)
#endif
#ifdef LOSS
#define idOf(r) E[r].id
#else
#define idOf(r) 0
#endif

inline strict(r, Ep, Id, Log, Pend, Fault) {
  if
  :: E[r].ch==0 -> Ep = E[r].ep; Id = idOf(r); Pend = Log              /* a claim: an incomplete command before it is void */
  :: else ->
     if
     :: !same(r,Ep,Id) -> skip                                         /* not the epoch of the last claim: void */
     :: else ->
        if
        :: (E[r].ch>>4)==Pend -> Pend = E[r].ch; if :: ends(Pend) -> Log = Pend :: else fi
        :: else -> if :: prefix(E[r].ch,Pend) -> skip                  /* lower and equal: dropped */
                      :: else -> Fault = 1 fi                          /* a gap, or two valid events at one sequence */
        fi
     fi
  fi
}

/* What an agent's own reader makes of E[1..n]: v, and p with the incomplete command. The planted reader bugs live here. */
hidden int v, p, x; hidden byte vEp, vId, vi, f, pos;                      /* scratch: no part of a state */
inline readTo(n) {
  v = 0; p = 0; vEp = 0; vId = 0; f = 0; vi = 1;
  do
  :: vi>n -> break
  :: else ->
#ifdef BUG_IGNORE_IK
     if :: E[vi].ch==0 -> vEp = E[vi].ep; vId = idOf(vi)
        :: E[vi].ch!=0 && same(vi,vEp,vId) && (E[vi].ch>>4)==v -> v = E[vi].ch; p = v
        :: else fi;
#elif defined(BUG_IGNORE_EPOCH)
     if :: E[vi].ch!=0 && (E[vi].ch>>4)==p -> p = E[vi].ch; if :: ends(p) -> v = p :: else fi
        :: else fi;
#else
     strict(vi, vEp, vId, v, p, f);
#endif
     vi++
  od
}

/* ---------------------------------------------------------------- answers -------------------------------------------------- */
/* Up to where an owner's answers and storage commands may rest, in its own knowledge. */
#ifdef BUG_ANSWER_BEFORE_ACK
#define upto(a) store[a]
#elif defined(BUG_MAX_NOT_DENSE)
#define upto(a) P[2*(a)].l
#else
#define upto(a) P[2*(a)].d
#endif

/* Agent a could now answer all that its knowledge allows. */
inline answers(a) {
  x = upto(a); whole(x);
#ifndef LOSS
  assert(prefix(x,gLog));                                        /* (1), (6): every answer, every storage command rests on valid events */
#ifdef BUG_REPEAT_EARLY
  x = store[a]; do :: x>=256 -> x = x>>4 :: else -> break od;    /* c2 is answered from the store as c0 was, published or not */
  assert(prefix(x,gLog));
  x = upto(a); whole(x);
#endif
#ifdef EXEC
  S[2*(a)].ep = P[2*(a)].ep; S[2*(a)].h = x
#endif
#endif
}

/* ---------------------------------------------------------------- landing -------------------------------------------------- */
#define inflight(q) (P[q].claim || P[q].h!=P[q].l)

inline land(q) {
  assert(tip+1 < MAXE);
  tip++;
  if
  :: P[q].claim ->
     P[q].claim = 0; P[q].off = tip; P[q].ep = tip;
#ifdef LOSS
#ifdef FIX_FLOOR
     if :: P[q].floor>=tip -> P[q].ep = P[q].floor+1 :: else fi;      /* epoch = max(offset, floor+1) */
#endif
     P[q].floor = 0; E[tip].id = P[q].id;
#endif
     E[tip].ep = P[q].ep; E[tip].ch = 0;
     printf("E[%d] claim of agent %d (%d): epoch %d\n", tip, q/2, q, P[q].ep)
  :: else ->
     x = P[q].h;
     do :: (x>>4)!=P[q].l -> x = x>>4 :: else -> break od;
     E[tip].ep = P[q].ep; E[tip].ch = x; P[q].l = x;
#ifdef LOSS
     E[tip].id = P[q].id;
#endif
     printf("E[%d] event of agent %d (%d): chain %x, epoch %d\n", tip, q/2, q, x, P[q].ep);
     if :: !P[q].hole && tip==P[q].off+seq(x)-P[q].b -> P[q].d = x    /* the report's offset is dense */
        :: else -> P[q].hole = 1 fi
  fi;
  x = gLog;
  strict(tip, gEp, gId, gLog, gPend, gFault);
#ifndef BUG_IGNORE_EPOCH
  if :: E[tip].ch!=0 && !same(tip,gEp,gId) -> E[tip].ch = 15; E[tip].ep = 255 :: else fi;   /* void for ever: all void records look alike */
#endif
  assert(!gFault);                                                      /* (3), (8): valid events leave no gap and never conflict */
  if
  :: gLog!=x ->
     printf("     valid log: %x\n", gLog);
     assert(prefix(x,gLog) && ends(gLog));                              /* (1), (3): it only grows; all in or all out */
     assert(posOf(gLog)==posOf(x)+1 || (posOf(x)==2 && posOf(gLog)==4));  /* (2): each id once, in order, none left out */
     assert(code(gLog)!=EV_2)
  :: else
  fi;
  if :: q%2==0 && st[q/2]==OWN -> answers(q/2) :: else fi
}

inline zero(q) {
  P[q].claim=0; P[q].off=0; P[q].b=0; P[q].ep=0; P[q].h=0; P[q].l=0; P[q].d=0; P[q].hole=0;
#ifdef LOSS
  P[q].id=0; P[q].floor=0
#endif
}
/* The agent lets go of its producer; what is in flight may still land. An older one's rest then never does. */
inline letGo() {
  if
  :: inflight(CUR) ->
     P[OLD].claim=P[CUR].claim; P[OLD].off=0; P[OLD].ep=P[CUR].ep; P[OLD].h=P[CUR].h; P[OLD].l=P[CUR].l; P[OLD].hole=1;
#ifdef LOSS
     P[OLD].id=P[CUR].id; P[OLD].floor=P[CUR].floor
#endif
  :: else
  fi;
  zero(CUR);
#ifdef EXEC
  if :: S[CUR].h!=S[CUR].l -> S[OLD].ep=S[CUR].ep; S[OLD].h=S[CUR].h; S[OLD].l=S[CUR].l :: else fi;
  S[CUR].ep=0; S[CUR].h=0; S[CUR].l=0
#endif
}

/* The store meets what the topic says (v): behind, ahead with a fitting chain, or different. */
inline reconcile() {
  if
  :: prefix(v, store[me]) -> skip                                       /* equal or ahead: the rest stays */
#ifdef FIX_ALARM
  :: !prefix(v, store[me]) && !prefix(mark[me], v) && !prefix(v, mark[me]) ->
     alarmed = 1; st[me] = STOP                                         /* what would go was once in the topic */
#endif
  :: else -> store[me] = v                                              /* behind: catches up. Different: the tail goes */
  fi;
#ifdef LOSS
  if :: st[me]!=STOP && prefix(mark[me],v) -> mark[me] = v; synced[me] = v :: else fi;
  if :: st[me]!=STOP && !prefix(synced[me],store[me]) -> synced[me] = v :: else fi;
  if :: st[me]!=STOP && !prefix(mark[me],store[me]) -> mark[me] = v :: else fi;
  if :: vEp>top[me] -> top[me] = vEp :: else fi
#endif
}

/* ---------------------------------------------------------------- an agent ------------------------------------------------- */
inline decide() {
  if :: pos==0 -> store[me] = (store[me]<<8)|(EV_00<<4)|(upgraded -> EV_01U : EV_01); pos = 1 :: else fi;
  if :: pos==1 -> if :: upgraded -> store[me] = (store[me]<<8)|(EV_1U0<<4)|EV_1U1 :: else -> store[me] = (store[me]<<4)|EV_1 fi; pos = 2
     :: else fi;
  if :: pos==2 -> if :: store[me]==0 || posOf(store[me])==0 -> store[me] = (store[me]<<4)|EV_2
                     :: else -> skip fi; pos = 3                        /* the id is known: a repeat, no event */
     :: else fi;
  if :: pos==3 && NC==4 -> store[me] = (store[me]<<4)|EV_3 :: else fi;
  pos = 0
}

#define mayTell (seq(P[CUR].d)>seq(told) && ends(P[CUR].d))
#if NA==2
#define quiet (!inflight(0) && !inflight(1) && !inflight(2) && !inflight(3))
#else
#define quiet (!inflight(0) && !inflight(1) && !inflight(2) && !inflight(3) && !inflight(4) && !inflight(5))
#endif

proctype Agent(byte me) {
  do
  :: atomic { !calm && crashes>0 && (store[me]!=0 || st[me]!=FOLLOW) && st[me]!=STOP ->            /* crash and restart */
       crashes--; letGo(); st[me] = FOLLOW;
       do
#ifdef LOSS
       :: store[me]!=0 && store[me]!=synced[me] -> store[me] = store[me]>>4; x = store[me]; whole(x); store[me] = x
#else
       :: store[me]!=0 -> store[me] = store[me]>>4; x = store[me]; whole(x); store[me] = x
#endif
       :: break
       od;
       printf("agent %d crashes, keeps %x\n", me, store[me]) }

  :: atomic { !calm && errs>0 && (st[me]==CLAIM || st[me]==OWN) ->                                /* fate of its records unknown */
       errs--; letGo(); st[me] = FOLLOW; printf("agent %d: delivery error\n", me) }

#ifdef LOSS
  :: d_step { st[me]==FOLLOW && seen[me]!=tip ->
#else
  :: d_step { st[me]==FOLLOW && calm && me!=surv && quiet && store[me]!=gLog ->
#endif
       readTo(tip); reconcile();
#ifdef LOSS
       seen[me] = tip;
#endif
       assert(store[me]==v || prefix(v,store[me]) || st[me]==STOP);
       printf("agent %d follows to %d: %x, store %x\n", me, tip, v, store[me]) }

  :: d_step { st[me]==FOLLOW && ((!calm && claims>0) || (calm && me==surv)) ->                    /* claim ... */
       if :: !calm -> claims-- :: else fi;
       P[CUR].claim = 1;
#ifdef LOSS
#ifdef FIX_ID
       nonce++; P[CUR].id = nonce;
#endif
#ifdef FIX_FLOOR
       P[CUR].floor = top[me];
#endif
#endif
#ifdef BUG_READ_BEFORE_CLAIM
       readTo(tip); reconcile();
#endif
       st[me] = CLAIM; printf("agent %d hands over a claim\n", me) }

  :: d_step { st[me]==CLAIM && P[CUR].off!=0 ->                                                   /* ... read up to it, adopt, own */
       pos = posOf(store[me]);                                                                    /* (BUG_KEEP_POSITION) */
#if defined(BUG_ADOPT_OWN_TAIL) || defined(BUG_READ_BEFORE_CLAIM)
       v = store[me]; p = v;
#else
       readTo(P[CUR].off);
#endif
       reconcile();
       if
       :: st[me]==CLAIM ->
          printf("agent %d owns from %d on: topic has %x, store %x\n", me, P[CUR].off, v, store[me]);
#ifdef BUG_REST_AFTER_PARTIAL
          readTo(P[CUR].off-1); if :: prefix(p,store[me]) -> v = p :: else fi;                    /* goes on in the middle of a command */
#endif
#ifndef BUG_KEEP_POSITION
          pos = posOf(store[me]);
#endif
          decide();
          P[CUR].b = seq(v); P[CUR].l = v; P[CUR].d = v; P[CUR].h = store[me];                    /* from the last complete command on */
          st[me] = OWN; answers(me)
       :: else -> zero(CUR); printf("agent %d stops\n", me)
       fi }

#ifdef LOSS
  :: d_step { st[me]==OWN && mayTell ->                                                           /* fsync, answer */
       answers(me);
#ifndef BUG_ANSWER_BEFORE_FSYNC
       if :: !prefix(x,synced[me]) -> synced[me] = x :: else fi;
#endif
#ifndef BUG_NO_MARK
       if :: !prefix(x,mark[me]) -> mark[me] = x :: else fi;
#endif
       if :: seq(x)>seq(told) -> told = x :: else fi;
       printf("agent %d answers on %x\n", me, x) }
#endif

#ifndef BUG_MAX_NOT_DENSE
  :: d_step { st[me]==OWN && P[CUR].hole ->                                                       /* a hole: read what is there */
       vi = P[CUR].off+1;
       do :: vi<=tip && E[vi].ch!=0 && !(E[vi].ep==P[CUR].ep && E[vi].ch==P[CUR].l) -> vi++ :: else -> break od;
       if
#ifndef OLD_HOLE
       :: vi<=tip && E[vi].ch!=0 ->                                                               /* no claim up to our newest */
          P[CUR].d = P[CUR].l; P[CUR].off = vi; P[CUR].b = seq(P[CUR].l); P[CUR].hole = 0;
          printf("agent %d: only void strangers up to %d\n", me, vi); answers(me)
#endif
       :: else -> letGo(); st[me] = FOLLOW; printf("agent %d: deposed\n", me)
       fi }
#endif
  od
}
/* ---------------------------------------------------------------- broker, executor, end ------------------------------------ */
#ifdef LOSS
/* The broker lost records. A producer of which older records remain is refused (its numbering has a hole); one of which nothing
 * remains is taken for new, and what it sends is accepted. FIX_BREAK: whoever has a claim in the topic lets go when its connection
 * breaks; it cannot get later reports without having noticed that. */
inline broken(a) {
  me = a;
  if :: P[CUR].ep!=0 && P[CUR].ep<=tip -> P[CUR].h = P[CUR].l; P[CUR].hole = 1 :: else fi;
  if :: P[OLD].ep!=0 && P[OLD].ep<=tip -> P[OLD].h = P[OLD].l :: else fi;
#ifdef FIX_BREAK
  seen[me] = 255;                                                /* a follower too reads again: its offset may name another record now */
  if :: P[CUR].off!=0 -> letGo(); st[me] = FOLLOW :: else fi;
#endif
  me = 0
}
#endif
proctype Broker() {
#ifdef LOSS
  byte me;
#endif
  do
  :: d_step { inflight(0) -> land(0) }
  :: d_step { inflight(1) -> land(1) }
  :: d_step { inflight(2) -> land(2) }
  :: d_step { inflight(3) -> land(3) }
#if NA>2
  :: d_step { inflight(4) -> land(4) }
  :: d_step { inflight(5) -> land(5) }
#endif
#ifdef LOSS
  :: atomic { !cut && !calm && tip>0 ->                          /* power cut: the topic loses its newest 1 to 3 records */
       cut = 1; tip--;
       if :: skip :: tip>0 -> tip-- :: tip>1 -> tip = tip-2 fi;
       d_step {
         vi = MAXE-1;
         do :: vi>tip -> E[vi].ep=0; E[vi].id=0; E[vi].ch=0; vi-- :: else -> break od;
         gEp=0; gId=0; gLog=0; gPend=0; vi=1;
         do :: vi<=tip -> strict(vi, gEp, gId, gLog, gPend, gFault); vi++ :: else -> break od;
         broken(0); broken(1);
         printf("power cut: E ends at %d, valid log %x\n", tip, gLog)
       } }
#endif
  od
}

#ifdef EXEC
inline execute(q) {
  x = S[q].h;
  do :: (x>>4)!=S[q].l -> x = x>>4 :: else -> break od;
  S[q].l = x;
  if
#ifndef BUG_EXEC_NO_EPOCH
  :: S[q].ep<xHi -> skip                                         /* refused */
#endif
  :: else ->
     xHi = (S[q].ep>xHi -> S[q].ep : xHi);
     assert(S[q].ep>=xMax); xMax = S[q].ep;                      /* (6) as it is written */
     assert(prefix(x,gLog));                                     /* (6) stronger: rests on a valid event */
     if :: seq(x)>xDone -> assert(seq(x)==xDone+1); xDone = seq(x)    /* none is passed over, so the position mark drops none */
        :: else -> skip                                          /* done before: dropped */
     fi
  fi
}
proctype Executor() {
  do
  :: d_step { S[0].h!=S[0].l -> execute(0) }
  :: d_step { S[1].h!=S[1].l -> execute(1) }
  :: d_step { S[2].h!=S[2].l -> execute(2) }
  :: d_step { S[3].h!=S[3].l -> execute(3) }
  od
}
#endif

#define agrees(a) (st[a]==STOP || store[a]==gLog)

proctype End() {
#ifdef UPGRADE
  atomic { if :: surv = 0 :: surv = 1 fi; calm = 1; printf("calm, agent %d survives\n", surv) }   /* at any time */
#else
  d_step { calm = 1; printf("calm, agent 0 survives\n") }        /* agents are alike: one choice stands for all */
#endif
  timeout ->                                                     /* nothing can move any more */
#ifdef LOSS
    assert(alarmed || prefix(told,gLog));                        /* (1) with loss: kept, or said aloud */
    assert(alarmed || (st[surv]==OWN && store[surv]==gLog && P[2*surv].d==gLog && posOf(gLog)>=2))
#else
    assert(st[surv]==OWN && P[2*surv].d==gLog);                  /* liveness: all is answered */
    assert(posOf(gLog)==(NC==4 -> 4 : 2));
    assert(agrees(0) && agrees(1));                              /* (5) */
#if NA>2
    assert(agrees(2));
#endif
#ifdef EXEC
    assert(xDone==seq(gLog))                                     /* every storage command arrived */
#endif
#endif
}

init { atomic {
  run Agent(0); run Agent(1);
#if NA>2
  run Agent(2);
#endif
  run Broker();
#ifdef EXEC
  run Executor();
#endif
  run End() } }
